"""The OpenAPI description against the program: schemathesis makes requests of it, good and bad; no answer is an error of the
server's own, and each has the status, type and form that the description says."""
import json
import os
import pathlib
import subprocess
import sys

from serving import serve, small_model

EXAMPLES = int(os.environ.get("OUTBOARD_FUZZ_EXAMPLES", 25))


def test_all_routes(tmp_path):
    model = small_model(tmp_path / "small.gguf")
    # `ollama`'s and plain answers alike are short, so that thousands fit: a context of 256 ends them.
    with serve(model, "--device", "cpu", "--ctx", 256) as server:
        description = server.json("/openapi.json")
        # A name that nobody has is refused at once: here the name is the model's.
        for schema in [*description["components"]["schemas"].values(),
                       *(op["requestBody"]["content"]["application/json"]["schema"] for path in description["paths"].values()
                         for op in path.values() if "requestBody" in op)]:
            if "model" in schema.get("properties", {}):
                schema["properties"]["model"] = {"type": "string", "enum": ["small"]}
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(description))
        program = pathlib.Path(sys.executable).with_name("schemathesis")
        # Kinds of requests that are told apart by more than a schema can say (a model's name, roles in a row) may be refused:
        # the check that good data is accepted is left out.
        result = subprocess.run([program, "run", file, "--url", server.address, "--max-examples", str(EXAMPLES),
                                 "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
                                 "response_schema_conformance", "--phases", "examples,fuzzing", "--request-timeout", "60",
                                 "--seed", "1", "--no-color", "--max-failures", "3", "--workers", "2"],
                                capture_output=True, text=True, timeout=800, cwd=tmp_path, env={**os.environ, "CI": "1"})
        assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
        assert server.json("/health")["status"] == "ok"
