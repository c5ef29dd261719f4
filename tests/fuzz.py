"""Schemathesis against the HTTP API over a seeded sandbox."""

import asyncio
import os
import sys
from pathlib import Path

from tests.unit.api_client import served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


async def fuzz(folder: Path, examples: int, only: str, seed: str) -> tuple[int, str]:
    """So many calls of each operation whose path fits; the exit code and what was said, with the seed.

    The token may do everything. It must find no crash, no undocumented answer and no door that opens without one.
    `SYNCD_FUZZ_SEED` goes before `seed`: another number makes other calls.
    """
    seed = os.environ.get("SYNCD_FUZZ_SEED") or seed
    async with served(folder) as api:
        token = await api.token("send")
        words = ["run", f"{api.url}/openapi.json", "--max-examples", str(examples), "--seed", seed, "--workers", "2"]
        words += ["--checks", ",".join(CHECKS), "--phases", "fuzzing", "--include-path-regex", only, "--no-color"]
        words += ["-H", f"Authorization: Bearer {token}", "--generation-database", "none"]
        # A slow machine is no finding.
        words += ["--suppress-health-check", "all", "--request-timeout", "240"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", *words, cwd=folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
    return process.returncode or 0, f"seed {seed}\n{said.decode()}"
