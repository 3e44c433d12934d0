import os
import signal
import sys
import threading

import pytest

from srzoo.cli import listing, main

PROGRAM = """
import os, signal, sys, time
from multiprocessing import get_context
from srzoo.cli import listing, program
from srzoo.files import replacing

def run(options):
    {run}

listing.run = run
{before}
sys.exit(program())
"""
USUAL = "[signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)]"  # nohup ignores SIGHUP


@pytest.fixture
def program(run_python):
    """Runs the body of a command as a program."""
    return lambda run, before="", **options: run_python("-c", PROGRAM.format(run=run, before=before), "list", **options)


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
        time.sleep(60)""",
        USUAL,
    )
    assert (ended.returncode, ended.stderr) == (status, f"srzoo: ended by {name}\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX's signals")
@pytest.mark.parametrize(
    ("before", "status", "said"),
    [
        ("listing.add_arguments = lambda parser: signal.raise_signal(signal.SIGHUP)", 129, "srzoo: ended by SIGHUP\n"),
        ("import atexit; atexit.register(signal.raise_signal, signal.SIGHUP)", -1, ""),  # after the command
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN); at_work = True", 0, ""),
    ],
)
def test_signals_at_other_times_and_signals_that_are_ignored(before, status, said, program):
    run = "'at_work' in globals() and signal.raise_signal(signal.SIGHUP); return 0"
    ended = program(run, f"{USUAL}\n{before}")
    assert (ended.returncode, ended.stderr) == (status, said)


def test_handlers_are_set_while_a_command_runs_in_the_main_thread_alone(monkeypatch):
    """They stayed in the kernel of a notebook, and in another thread there was a ValueError."""
    number, seen = signal.SIGTERM, []
    monkeypatch.setattr("sys.argv", ["srzoo", "list"])
    monkeypatch.setattr(listing, "run", lambda options: seen.append(signal.getsignal(number)) or 0)
    former = signal.signal(number, signal.SIG_DFL)
    try:
        assert main() == 0
        assert signal.getsignal(number) == signal.SIG_DFL
        thread = threading.Thread(target=lambda: seen.append(main()))
        thread.start()
        thread.join()
    finally:
        signal.signal(number, former)
    assert callable(seen[0]) and seen[1:] == [signal.SIG_DFL, 0]


def test_ctrl_c_ends_a_command_and_not_the_session_that_called_it(monkeypatch, capsys):
    """In a notebook or a test, Ctrl-C did nothing from then on."""
    monkeypatch.setattr("sys.argv", ["srzoo", "list"])
    monkeypatch.setattr(listing, "run", lambda options: signal.raise_signal(signal.SIGINT))
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main() == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)
    assert capsys.readouterr().err == "srzoo: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX's signals")
def test_another_ctrl_c_at_the_end_of_the_program_does_nothing(program):
    before = "import atexit; atexit.register(signal.raise_signal, signal.SIGINT)"
    ended = program("raise KeyboardInterrupt", f"signal.signal(signal.SIGINT, signal.default_int_handler); {before}")
    assert (ended.returncode, ended.stderr) == (130, "srzoo: interrupted\n")


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
    return 0""",
        USUAL,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "-15\n", "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX's descriptors")
def test_streams_may_be_closed(run_python, tmp_path):
    """stdout without a stream was an error for each image, and stderr without one a traceback that nobody saw."""
    run = 'print(sys.stdout.isatty(), file=sys.stderr); open("kinds", "w").write(kinds()); return 0'
    kinds = "kinds = lambda: str([os.path.sameopenfile(each, os.open(os.devnull, os.O_RDWR)) for each in range(3)])"
    (tmp_path / "program.py").write_text(PROGRAM.format(run=run, before=kinds))
    for closed, numbers in (("<&-", [0]), (">&-", [1]), ("2>&-", [2]), ("<&- >&- 2>&-", [0, 1, 2])):
        (tmp_path / "kinds").unlink(missing_ok=True)
        command = f"exec '{sys.executable}' program.py list {closed}"
        code = f"import subprocess, sys; sys.exit(subprocess.run({command!r}, shell=True, input=b'').returncode)"
        assert run_python("-c", code).returncode == 0, closed
        expected = [number in numbers for number in range(3)]
        assert (tmp_path / "kinds").read_text() == str(expected), closed


def test_a_terminal_without_a_character(program):
    shown = program('print("Straße"); return 0', env={"PYTHONIOENCODING": "ascii"})
    assert (shown.returncode, shown.stdout) == (0, "Stra\\xdfe\n")
