"""Other processes, signals, and the command."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import mbvc

_model = None


def _best(path) -> int:
    return _model.classify(path, top=1)[0].index


def _set(model) -> None:
    global _model
    _model = model


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes(method, int8, photographs):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    expected = [guesses[0].index for guesses in int8.classify_batch(photographs)]
    context = multiprocessing.get_context(method)
    with context.Pool(2, initializer=_set, initargs=(int8,)) as pool:
        assert pool.map(_best, photographs) == expected


def test_a_forked_child_uses_the_model_of_its_parent(int8, photographs):
    expected = int8.classify_batch(photographs)
    # The child inherits buffers and thread pools, but no threads.
    child = os.fork()
    if child == 0:
        os._exit(0 if int8.classify_batch(photographs) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_during_a_batch_runs(int8, photographs):
    expected = int8.classify_batch(photographs)
    running = threading.Thread(target=lambda: int8.classify_batch(photographs * 40))
    running.start()
    for _ in range(10):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if int8.classify_batch(photographs) == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
    running.join()


INTERRUPTED = """
import mbvc, signal, sys
# A parent in the background passes on that it ignores the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
model = mbvc.load(sys.argv[1])
image = open(sys.argv[2], 'rb').read()
print('ready', flush=True)
try:
    model.classify_batch([image] * 100_000)
except KeyboardInterrupt:
    print('interrupted', flush=True)
"""


def test_keyboard_interrupt_ends_a_batch(int8, photographs, tmp_path):
    int8.save(tmp_path / "model.mbvc")
    started = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, tmp_path / "model.mbvc", photographs[0]], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "ready\n"
    time.sleep(0.5)
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=60)
    assert out == "interrupted\n" and started.returncode == 0


TOO_MANY_THREADS = """
import mbvc, resource, sys
model = mbvc.load(sys.argv[1])
image = open(sys.argv[2], 'rb').read()
for line in open('/proc/self/status'):
    if line.startswith('VmSize:'):
        used = int(line.split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
try:
    model.classify_batch([image] * 256, threads=256)
except mbvc.Error as error:
    print(error.message, error.help)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(model.classify_batch([image] * 4, threads=2)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_threads_that_cannot_be_started_are_an_error(int8, photographs, tmp_path):
    int8.save(tmp_path / "model.mbvc")
    ran = subprocess.run(
        [sys.executable, "-c", TOO_MANY_THREADS, tmp_path / "model.mbvc", photographs[0]], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    error, count = ran.stdout.splitlines()
    assert error.startswith("cannot start thread ") and " of 256: " in error and "use fewer threads" in error, error
    assert count == "4"


WORKER = """
import mbvc, sys
model = mbvc.load(sys.argv[1], keep_weights=False)
print({line.split()[-1] for line in open('/proc/self/maps') if line.endswith('.weights\\n')})
print(model.classify(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_workers_share_packed_weights(int8, photographs, tmp_path):
    path, cache = tmp_path / "model.mbvc", tmp_path / "cache"
    int8.save(path)
    expected = repr(int8.classify(photographs[0]))

    def worker(folder):
        environment = {**os.environ, "MBVC_CACHE": str(folder)}
        ran = subprocess.run([sys.executable, "-c", WORKER, path, photographs[0]], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        mapped, found = ran.stdout.splitlines()
        assert found == expected
        return mapped

    first, second = worker(cache), worker(cache)
    [stored] = (cache / "packed").glob("*.weights")
    assert first == second == repr({str(stored)})
    # The parent is a regular file, so the cache folder cannot be created.
    assert worker(path / "cache") == "set()"


def command(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "mbvc", *arguments], capture_output=True, text=True, **options)


def test_the_command_is_in_the_package(tmp_path):
    assert command("--version").stdout == f"mbvc {mbvc.__version__}\n"
    failed = command("check", "absent.yaml", cwd=tmp_path)
    assert failed.returncode == 1 and "absent.yaml" in failed.stderr
    assert command("--no-such-option").returncode == 2
    program = os.path.join(os.path.dirname(sys.executable), "mbvc")
    assert subprocess.run([program, "--version"], capture_output=True, text=True).stdout == f"mbvc {mbvc.__version__}\n"


def test_import_is_light():
    script = "import sys, mbvc; print(sorted({'numpy', 'PIL', 'json', 'tempfile', 'subprocess'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
