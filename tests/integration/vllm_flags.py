"""What vLLM's API server makes of some command lines; run by a Python that has vLLM.

Standard input is {name: [argument, ...]}. The answer goes to the file that is named: for each name
what its parser complains about, or null.
"""

import json
import sys
from pathlib import Path
from typing import NoReturn

import vllm
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.exceptions import VLLMValidationError
from vllm.utils.argparse_utils import FlexibleArgumentParser


class _Refused(Exception):
    """The parser would have ended the process."""


class _Parser(FlexibleArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Refused(message)


def main() -> None:
    parser = make_arg_parser(_Parser())
    complaints: dict[str, str | None] = {}
    for name, arguments in json.load(sys.stdin).items():
        try:
            validate_parsed_serve_args(parser.parse_args(arguments))
            complaints[name] = None
        except (_Refused, TypeError, ValueError, VLLMValidationError) as refused:
            complaints[name] = str(refused)
    answer = {"version": vllm.__version__, "complaints": complaints}
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
