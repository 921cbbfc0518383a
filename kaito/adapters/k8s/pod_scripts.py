"""Helper containers around the engine: fixed scripts, whose values arrive as arguments.

A script is a constant. Whatever comes from a manifest is a positional parameter, always quoted,
so that it stays one word whatever characters it has.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kaito.domain.names import digest, is_dns_label
from kaito.domain.tuning_attempts import ExitCode

SKOPEO_IMAGE: Final = "mcr.microsoft.com/aks/skopeo:1.14.4-6"  # as KAITO v0.12 uses it
ORAS_IMAGE: Final = "mcr.microsoft.com/oss/v2/oras-project/oras:v1.2.3"
CURL_IMAGE: Final = "docker.io/curlimages/curl:8.11.1"

PULL_SECRETS_DIR: Final = "/etc/kaito/pull-secrets"
PUSH_SECRET_DIR: Final = "/etc/kaito/push-secret"

# What a registry answers for good, in the words of the distribution specification's error codes
# (UNAUTHORIZED, DENIED, MANIFEST_UNKNOWN, NAME_UNKNOWN) and of HTTP's status 401 and 403.
_REFUSED: Final = "unauthorized|denied|forbidden"
_UNKNOWN: Final = "manifest unknown|name unknown"

# $1 image, $2 directory: the files under /data of the image end up in the directory. Each secret
# is tried, then none: only what no try might cure is said to be for good.
_PULL: Final = f"""\
set -eu
work=$(mktemp -d)
copied=""
code={ExitCode.NOT_PERMITTED}
for auth in {PULL_SECRETS_DIR}/*/.dockerconfigjson ""; do
  [ -z "$auth" ] || [ -e "$auth" ] || continue
  skopeo copy --retry-times 3 ${{auth:+--authfile "$auth"}} "docker://$1" "dir:$work/image" \\
    2>"$work/said" && copied=yes && break
  cat "$work/said" >&2
  if grep -qiE '{_UNKNOWN}' "$work/said"; then
    [ "$code" = {ExitCode.TRY_AGAIN} ] || code={ExitCode.DATA_NOT_FOUND}
  elif ! grep -qiE '{_REFUSED}' "$work/said"; then
    code={ExitCode.TRY_AGAIN}
  fi
done
[ -n "$copied" ] || {{ echo "cannot pull $1" >&2; exit "$code"; }}
mkdir -p "$work/root" "$2"
layers=$(tr -d '\\n ' < "$work/image/manifest.json" | sed 's/.*"layers":\\[//' \\
  | grep -o 'sha256:[0-9a-f]*' | cut -d: -f2)
for layer in $layers; do tar -xf "$work/image/$layer" -C "$work/root"; done
[ -d "$work/root/data" ] || {{ echo "image $1 has no /data" >&2; exit {ExitCode.DATA_INVALID}; }}
cp -R "$work/root/data/." "$2/"
rm -rf "$work"
"""

# $1 directory, then URLs: each is saved under its number and the name at the end of its path, so
# that two files of one name do not become one. curl's own exit codes mean other things than ours.
# What is no data is found here, before the GPUs work for it: an empty file, a page that asks to
# sign in, a file that lacks Parquet's mark at its ends (parquet.apache.org/docs/file-format). A
# message has no query, which may hold a token.
_DOWNLOAD: Final = f"""\
set -eu
directory=$1
shift
mkdir -p "$directory"
number=0
bad() {{ echo "$name $1" >&2; exit {ExitCode.DATA_INVALID}; }}
for url in "$@"; do
  name=$(printf '%03d-%s' "$number" "$(basename "${{url%%[?#]*}}")")
  number=$((number + 1))
  file=$directory/$name
  status=$(curl --fail --location --retry 3 --retry-delay 2 --silent --show-error \\
    --proto =http,https --write-out '%{{http_code}}' --output "$file" -- "$url") || {{
    echo "cannot download $name: HTTP status $status" >&2
    case $status in
      401|403) exit {ExitCode.NOT_PERMITTED} ;;
      404|410) exit {ExitCode.DATA_NOT_FOUND} ;;
      *) exit {ExitCode.TRY_AGAIN} ;;
    esac
  }}
  [ -s "$file" ] || bad "is empty"
  case $(head -c 15 "$file" | tr -d '\\000' | tr A-Z a-z) in
    '<!doctype html'*|'<html'*) bad "is a web page" ;;
  esac
  case $name in
    *.parquet)
      [ "$(head -c 4 "$file" | tr -d '\\000')" = PAR1 ] || bad "is no Parquet file"
      [ "$(tail -c 4 "$file" | tr -d '\\000')" = PAR1 ] || bad "is only part of a Parquet file" ;;
  esac
done
"""

# $1 image, $2 results directory, $3 model: waits for the trainer's mark, then pushes the adapter;
# ends too when the trainer is not (or no longer) in the shared process namespace and left no mark.
# The kubelet starts containers in order, so the trainer was there first, or has ended already. The
# pattern does not match its own text, which stands on this shell's command line. A push is repeated
# here, for 5 minutes: the next attempt would train again before it could.
_PUSH: Final = f"""\
set -eu
missing=0
until [ -f "$2/fine_tuning_completed.txt" ]; do
  if grep -qa 'fine_tuning[.]py' /proc/[0-9]*/cmdline 2>/dev/null; then
    missing=0
  elif [ "$missing" -lt 30 ]; then
    missing=$((missing + 1))
  elif [ ! -f "$2/fine_tuning_completed.txt" ]; then
    echo "the trainer ended without a result" >&2
    exit {ExitCode.TRY_AGAIN}
  fi
  sleep 1
done
mkdir -p "$2/push/data"
cp "$2/adapter_config.json" "$2/adapter_model.safetensors" "$2/push/data/"
cd "$2/push"
tar -czf data.tar.gz data
said=$(mktemp)
pause=10
until oras push --registry-config {PUSH_SECRET_DIR}/config.json \\
  --annotation "sh.kaito.model.name=$3" "$1" \\
  data.tar.gz:application/vnd.oci.image.layer.v1.tar+gzip 2>"$said"; do
  cat "$said" >&2
  echo "cannot push $1" >&2
  ! grep -qiE '{_REFUSED}' "$said" || exit {ExitCode.NOT_PERMITTED}
  [ "$pause" -le 160 ] || exit {ExitCode.TRY_AGAIN}
  sleep "$pause"
  pause=$((pause * 2))
done
"""


def puller(name: str, image: str, directory: str) -> dict[str, Any]:
    """A container that copies /data of `image` into `directory`."""
    return _script(name, SKOPEO_IMAGE, _PULL, [image, directory])


def downloader(name: str, urls: Sequence[str], directory: str) -> dict[str, Any]:
    """A container that saves each URL as a file in `directory`."""
    return _script(name, CURL_IMAGE, _DOWNLOAD, [directory, *urls])


def pusher(name: str, image: str, results_dir: str, model: str) -> dict[str, Any]:
    """A container that pushes the trained adapter once the job has finished."""
    return _script(name, ORAS_IMAGE, _PUSH, [image, results_dir, model])


def model_access(secret: str, *, required: bool) -> list[dict[str, Any]]:
    """The variable that opens a gated model on Hugging Face; none without a secret. Where it is
    `required`, the kubelet waits for it and says so, and no download is tried without."""
    if not secret:
        return []
    reference = {"name": secret, "key": "HF_TOKEN", "optional": not required}
    return [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}]


def pull_secret_volumes(secrets: Iterable[str]) -> list[dict[str, Any]]:
    """A volume for each secret, once."""
    return [
        {"name": _pull_secret_volume(secret), "secret": {"secretName": secret}}
        for secret in dict.fromkeys(secrets)
    ]


def pull_secret_mounts(secrets: Iterable[str]) -> list[dict[str, Any]]:
    """Where a puller looks for its secrets."""
    return [
        {"name": _pull_secret_volume(secret), "mountPath": f"{PULL_SECRETS_DIR}/{secret}"}
        for secret in dict.fromkeys(secrets)
    ]


def _pull_secret_volume(secret: str) -> str:
    """A secret's name may have dots and 253 characters, a volume's may not."""
    name = f"pull-secret-{secret}"
    return name if is_dns_label(name) else f"pull-secret-{digest(secret)[:16]}"


def _script(name: str, image: str, script: str, arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "command": ["/bin/sh", "-c", script, name],
        "args": list(arguments),
    }
