"""What is shipped beside the program fits it: lock file, dashboard, units and images."""

import json
import re
import tomllib
from pathlib import Path

from syncd.config import load
from syncd.metrics import Metrics

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def test_the_image_has_the_versions_that_are_tested() -> None:
    """The lock file of the image is a part of the whole one, holds every dependency, and hashes of each."""
    text = (ROOT / "deploy" / "requirements.lock").read_text()
    pins = set(PIN.findall(text))
    assert pins <= set(PIN.findall((ROOT / "requirements.lock").read_text()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[^a-z0-9-]", line)[0] for line in project["dependencies"]} <= {name for name, _ in pins}
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z])", text)[1:])


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every name in its queries is one that the daemon exports."""
    dashboard = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries.append((ROOT / "docs" / "operating.md").read_text())
    asked = set(re.findall(r"\bsyncd_[a-z_]+[a-z]\b", "\n".join(queries))) - {"syncd_process"}
    known = set()
    for family in Metrics().registry.collect():
        known |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    assert asked <= known
    assert len(queries) > 10


def test_every_metric_is_in_the_manual() -> None:
    """The table of metrics leaves none out."""
    manual = (ROOT / "docs" / "operating.md").read_text()
    for family in Metrics().registry.collect():
        if not family.name.startswith("syncd_process_"):
            assert f"| `{family.name}" in manual


def test_the_shared_file_of_the_compose_set_up_loads(tmp_path: Path) -> None:
    """It says what the example leaves to it, with the secrets where compose.yaml puts them."""
    mounted = re.findall(r"secrets: \[(.*token.*)\]", (ROOT / "compose.yaml").read_text())[0].split(", ")
    shared = (ROOT / "deploy" / "syncd.toml").read_text()
    for name in re.findall(r"/run/secrets/(\w+)", shared):
        assert name in mounted
        (tmp_path / name).write_text("a-secret")
    (tmp_path / "syncd.toml").write_text(shared.replace("/run/secrets", str(tmp_path)))
    (tmp_path / "acme.toml").write_text(
        '[workspace]\nname = "acme"\n[remote]\nconnector = "memory"\n'
        '[gorgias]\nsubdomain = "acme"\nemail = "ops@acme.example"\napi_key = "a-key"\n'
    )
    settings = load([tmp_path])
    assert settings.http.port == 8787
    assert settings.store.url.get_secret_value() == "postgresql://syncd:a-secret@postgres:5432/syncd"
