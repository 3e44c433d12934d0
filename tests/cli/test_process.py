import os
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from multiprocessing import get_context
from srzoo.cli import listing, main
from srzoo.files import replacing

def run(options):
    {run}

listing.run = run
sys.exit(main())
"""


@pytest.fixture
def program(run_python):
    """Runs the body of a command as a program."""
    return lambda run, **options: run_python("-c", PROGRAM.format(run=run), "list", **options)


@pytest.mark.skipif(os.name == "nt", reason="POSIX's signals")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_no_file_and_no_process(name, status, program, tmp_path):
    ended = program(
        f"""child = get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    child.start()
    with replacing("out.txt") as path:
        path.write_text("half")
        print(child.pid, flush=True)
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)"""
    )
    assert (ended.returncode, ended.stderr) == (status, f"srzoo: ended by {name}\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX's signals")
def test_a_signal_ends_a_child_silently(program):
    ended = program(
        """started = get_context("fork").Event()
    child = get_context("fork").Process(target=lambda: started.set() or time.sleep(60))
    child.start()
    started.wait()
    child.terminate()
    child.join()
    print(child.exitcode)
    return 0"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "-15\n", "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX's descriptors")
def test_streams_may_be_closed(run_python, tmp_path):
    """stdout without a stream was an error for each image, and stderr without one a traceback that nobody saw."""
    run = 'print(sys.stdout.isatty(), file=sys.stderr); open("numbers", "w").write(str([os.dup(0)])); return 0'
    (tmp_path / "program.py").write_text(PROGRAM.format(run=run))
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        (tmp_path / "numbers").unlink(missing_ok=True)
        command = f"exec '{sys.executable}' program.py list {closed}"
        code = f"import subprocess, sys; sys.exit(subprocess.run({command!r}, shell=True).returncode)"
        assert run_python("-c", code).returncode == 0, closed
        assert (tmp_path / "numbers").read_text() == "[4]", closed


def test_a_terminal_without_a_character(program):
    shown = program('print("Straße"); return 0', env={"PYTHONIOENCODING": "ascii"})
    assert (shown.returncode, shown.stdout) == (0, "Stra\\xdfe\n")
