"""A Python that has vLLM, and programs of ours that run in it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.integration.conftest import ROOT, missing_backend

_LIMIT_S: Final = 600.0
_ENVIRONMENT: Final = {
    "GLOO_SOCKET_IFNAME": "lo",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
}


def ask_vllm(script: str, question: object, directory: Path) -> dict[str, Any]:
    """What `script`, a file beside this one, answers to a question; skips without vLLM."""
    found = subprocess.run(
        [ROOT / "hack" / "vllm.sh", "find"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        missing_backend(found.stderr.strip())
    written = directory / "answer.json"
    ran = subprocess.run(
        [found.stdout.strip(), Path(__file__).with_name(script), written],
        input=json.dumps(question),
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    answer: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return answer
