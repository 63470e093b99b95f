"""Model files: saved, opened without a compiler, damaged and foreign."""

import os
import pickle
import subprocess
import sys
import zipfile

import pytest

import mbvc

CLASSIFY = """
import sys, mbvc
model = mbvc.load(sys.argv[1])
print([(guess.label, round(guess.score, 5)) for guess in model.classify(sys.argv[2])])
"""


def classified(path, picture, **environment) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", CLASSIFY, str(path), str(picture)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_saved_model_needs_no_compiler(tiny, int8, photographs, tmp_path):
    for name, model in [("tiny", tiny), ("int8", int8)]:
        path = tmp_path / f"{name}.mbvc"
        model.save(path)
        expected = [(guess.label, round(guess.score, 5)) for guess in model.classify(photographs[0])]
        found = classified(path, photographs[0], RUSTC="/no/such/rustc", MBVC_CACHE=str(tmp_path / "cache"))
        assert found == f"{expected}\n"
        assert mbvc.loads(path.read_bytes()).classify(photographs[0]) == model.classify(photographs[0])
    assert not (tmp_path / "cache").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.mbvc", "tiny.mbvc"], "no temporary file is left"


def test_a_model_without_its_weights_runs(tiny, int8, photographs):
    for model in (tiny, int8):
        content = model.to_bytes()
        running = mbvc.loads(content, keep_weights=False)
        assert running.classify(photographs[0]) == model.classify(photographs[0])
        assert running.spec == model.spec and repr(running) == repr(mbvc.loads(content))
        for save in (running.to_bytes, lambda model=running: pickle.dumps(model)):
            with pytest.raises(mbvc.Error, match="keep_weights=False"):
                save()


def test_an_existing_file_is_not_replaced(int8, tmp_path):
    path = tmp_path / "model.mbvc"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="force=True"):
        int8.save(path)
    assert path.read_text() == "precious"
    int8.save(path, force=True)
    mbvc.load(path)
    with pytest.raises(OSError):
        int8.save(tmp_path / "absent" / "model.mbvc")


def test_damaged_and_foreign_files_are_refused(tiny, tmp_path, tflite):
    content = tiny.to_bytes()
    path = tmp_path / "model.mbvc"
    for damaged in (content[:100], content[: len(content) // 2], content[:-1], b""):
        path.write_bytes(damaged)
        with pytest.raises(mbvc.Error, match="model file"):
            mbvc.load(path)
    with pytest.raises(mbvc.Error, match="is not a model file of mbvc"):
        mbvc.load(tflite)
    with pytest.raises(mbvc.Error, match="no such file"):
        mbvc.load(tmp_path / "absent.mbvc")
    path.write_bytes(content)
    foreign = tmp_path / "foreign.mbvc"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(foreign, "w") as target:
        for name in source.namelist():
            text = source.read(name)
            if name == "manifest.json":
                text = text.replace(b"-linux-", b"-plan9-").replace(b"-macos", b"-plan9")
            target.writestr(name, text)
    with pytest.raises(mbvc.Error, match="was compiled for .*plan9.*, but this machine is"):
        mbvc.load(foreign)


def test_a_pickled_model_that_was_loaded_needs_no_compiler(tiny, photographs, tmp_path):
    path, pickled = tmp_path / "model.mbvc", tmp_path / "model.pickle"
    tiny.save(path)
    script = "import mbvc, pickle, sys; pickle.dump(mbvc.load(sys.argv[1]), open(sys.argv[2], 'wb'))"
    environment = {**os.environ, "RUSTC": "/no/such/rustc", "MBVC_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", script, path, pickled], env=environment, check=True)
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).classify(sys.argv[2])[0].score)"
    ran = subprocess.run(
        [sys.executable, "-c", script, pickled, photographs[0]], env=environment, check=True, capture_output=True, text=True
    )
    assert float(ran.stdout) == pytest.approx(tiny.classify(photographs[0])[0].score, abs=1e-6)


def test_without_a_compiler_the_error_names_the_remedy(tiny, tmp_path):
    tiny.save_weights(tmp_path / "w.safetensors")
    script = "import mbvc, sys; mbvc.Model('w.safetensors', 'w.yaml')"
    environment = {**os.environ, "RUSTC": "/no/such/rustc", "MBVC_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "requires a Rust compiler" in ran.stderr and "help: install Rust" in ran.stderr
