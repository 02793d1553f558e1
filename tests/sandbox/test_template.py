from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import ConfigurationError
from loopat_jupyter.models import Progress
from loopat_jupyter.sandbox.template import BuildProgress, read_template, step_labels, template_folder
from loopat_jupyter.workspace.config import ImageConfig

TWO_STAGES = """\
# step: not of a stage
ARG BASE=x
FROM ${BASE} AS fetch
# a comment
ARG VERSION=1
# step: downloader
RUN apt-get update \\
 # step: no label, it stands inside an instruction
 && apt-get install \\

      curl
ENV A=1

FROM ${BASE}
#step:system packages
RUN make
COPY --from=fetch /a /a
# step: settings
USER loopat
"""
LABELS = (
    ("not of a stage", "not of a stage", "downloader", "downloader"),
    ("downloader", "system packages", "system packages", "settings"),
)


def make_template(folder: Path, text: str = "FROM scratch\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Containerfile").write_text(text)
    return folder


def test_labels_name_the_instruction_below_and_those_after():
    assert step_labels(TWO_STAGES) == LABELS


def test_a_containerfile_without_labels_or_without_stages():
    assert step_labels("FROM scratch\nCOPY a /a\n") == (("", ""),)
    assert step_labels("ARG A=1\n# nothing\n") == ()
    assert step_labels("FROM scratch\nRUN a \\") == (("", ""),)


def test_progress_counts_labels_over_all_stages():
    progress = BuildProgress(step_labels(TWO_STAGES), before=("base image",), after=("preparing",))
    lines = [
        "[1/2] STEP 1/4: FROM x AS fetch",
        "Get:1 http://mirror STEP 3/4: not a step",
        "[1/2] STEP 3/4: RUN apt-get update",
        "--> Using cache 1234",
        "[2/2] STEP 1/5: FROM x",
        "[2/2] STEP 2/5: RUN make",
        "[2/2] STEP 3/5: COPY --from=fetch /a /a",
        "[2/2] STEP 4/5: USER loopat",
        '[2/2] STEP 5/5: LABEL "a"="b"',
    ]
    seen = [progress.phase("base image"), *map(progress.line, lines), progress.phase("preparing")]
    assert [str(step) if step else None for step in seen] == [
        "base image (1 of 6)",
        "not of a stage (2 of 6)",
        None,
        "downloader (3 of 6)",
        None,
        "downloader (3 of 6)",
        "system packages (4 of 6)",
        "system packages (4 of 6)",
        "settings (5 of 6)",
        "settings (5 of 6)",
        "preparing (6 of 6)",
    ]


def test_instructions_before_the_first_label_belong_to_the_phase_before():
    labels = step_labels("FROM x\nARG A\n# step: system packages\nRUN make\n")
    progress = BuildProgress(labels, before=("base image",))
    assert progress.line("STEP 2/3: ARG A") == Progress(label="base image", step=1, steps=2)
    assert progress.line("STEP 3/3: RUN make") == Progress(label="system packages", step=2, steps=2)


def test_without_any_label_it_is_just_building():
    progress = BuildProgress(step_labels("FROM scratch\nCOPY a /a\n"))
    assert progress.line("STEP 2/2: COPY a /a") == Progress(label="building", step=1, steps=1)
    assert BuildProgress(()).line("STEP 1/1: FROM x") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=30), st.booleans())
def test_progress_never_falls_and_never_exceeds(steps: list[tuple[int, int]], multi: bool):
    progress = BuildProgress(LABELS, before=("base image",), after=("preparing",))
    seen = [progress.line(f"[{stage}/9] STEP {step}/99: X" if multi else f"STEP {step}/99: X") for stage, step in steps]
    numbers = [step.step for step in seen if step]
    assert numbers == sorted(numbers)
    assert all(1 <= number < 6 for number in numbers)
    assert progress.phase("preparing") == Progress(label="preparing", step=6, steps=6)


@given(st.text())
def test_any_text_is_read(text: str):
    labels = step_labels(text)
    BuildProgress(labels).line(text)
    assert all(stage for stage in labels)


def test_the_tag_follows_content_names_modes_and_settings(tmp_path: Path):
    image = ImageConfig()
    folder = make_template(tmp_path / "template")
    seen = [read_template(folder, image).tag]
    assert read_template(folder, image).tag == seen[0]
    (folder / "extra").write_text("a")
    seen.append(read_template(folder, image).tag)
    (folder / "extra").chmod(0o755)
    seen.append(read_template(folder, image).tag)
    (folder / "extra").rename(folder / "other")
    seen.append(read_template(folder, image).tag)
    (folder / "link").symlink_to("nowhere")
    seen.append(read_template(folder, image).tag)
    make_template(folder, "FROM scratch\nENV A=1\n")
    seen.append(read_template(folder, image).tag)
    seen.append(read_template(folder, ImageConfig(base="another")).tag)
    seen.append(read_template(folder, ImageConfig(suite="another")).tag)
    assert len(set(seen)) == len(seen)
    assert all(tag.startswith("localhost/loopat-sandbox-") and tag.endswith(":latest") for tag in seen)


def test_a_copy_elsewhere_has_the_same_tag(tmp_path: Path):
    one, two = make_template(tmp_path / "one"), make_template(tmp_path / "two")
    assert read_template(one, ImageConfig()).digest == read_template(two, ImageConfig()).digest


def test_a_missing_containerfile_is_told(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="Containerfile"):
        read_template(tmp_path, ImageConfig())


def test_the_template_beside_the_checkout_is_found_and_every_step_is_named():
    folder = template_folder()
    assert folder == Path(__file__).parents[2] / "templates" / "sandbox"
    stages = step_labels(read_template(folder, ImageConfig()).containerfile)
    assert list(dict.fromkeys(label for stage in stages for label in stage)) == [
        "",
        "system packages",
        "mise",
        "python and its kernel",
        "user and settings",
    ]
