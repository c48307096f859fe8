"""Calls the server as its /openapi.json says, and as it says not to: openapi_fuzz.py BASE_URL

Schemathesis makes the calls, the same ones each time. What no schema can say (that a model does not take an option, that a picture stands in the
message of an assistant) may be refused though the schema allows it, so that is not checked; whatever the schema forbids must be refused.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
)


def main(base: str) -> int:
    with TemporaryDirectory() as folder:
        # It keeps what it found in the folder where it runs.
        run = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "run",
                f"{base}/openapi.json",
                "--phases=fuzzing,stateful",
                "--checks=" + ",".join(CHECKS),
                "--suppress-health-check=all",
                "--seed=1",
                "--max-examples=8",
                "--request-timeout=20",
                "--no-shrink",
                "--generation-database=none",
                # Streams would be watched to their end.
                "--header=Prefer: wait=0",
            ],
            cwd=folder,
            check=False,
        )
    return run.returncode


sys.exit(main(sys.argv[1]))
