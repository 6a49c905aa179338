"""Do project 1 as a student would: JupyterLab in a headless browser, answers typed into the cells of lessons 2 to 7.

    python scripts/follow_capstone.py FOLDER                       # a new folder, for notebooks, answers and pictures
    python scripts/follow_capstone.py FOLDER --chromium /usr/bin/chromium

The answers are those of tests/exercises/answers_of_a_student.py; before the right softmax, a wrong one is typed.  All
cells of the lessons are run with Shift+Enter, in order, and then project 1, whose BERT must be the student's entirely.
Needs the extra `lessons`, and Playwright (pip install playwright).  JupyterLab listens on this computer only.
"""

import argparse
import ast
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = ROOT / "tests" / "exercises" / "answers_of_a_student.py"
LESSONS = ("02-embeddings", "03-backpropagation", "04-attention", "05-encoder", "06-masking", "07-pretraining")
PROJECT = "p1-your-bert"
WRONG = "def softmax(scores):\n    e = np.exp(scores - scores.max())\n    return e / e.sum()"  # of the whole matrix
SECONDS = 600  # that a notebook may take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", help="the browser; by default Playwright's own")
    parser.add_argument("--python", default=sys.executable, help="with JupyterLab and minibert; by default this one")
    options = parser.parse_args()
    folder = options.folder.resolve()
    shutil.copytree(ROOT / "lessons", folder / "lessons")
    for path in (folder / "lessons").glob("*.ipynb"):
        path.write_text(json.dumps(without_outputs(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    port, token = free_port(), secrets.token_hex(16)
    server = serve(options.python, folder, port, token)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            for name in (*LESSONS, PROJECT):
                follow(page, f"http://127.0.0.1:{port}/lab/tree/{name}.ipynb?token={token}&reset", folder, name)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    text = "\n".join(printed(folder, PROJECT))
    done = "this BERT is yours" in text and "solutions of the package 0 times" in text
    done &= bool(re.search(r"^finn makes \[MASK\] \. +coats", text, re.M))
    print("done: a whole BERT of the student's, trained" if done else "not done")
    return 0 if done else 1


def without_outputs(notebook: dict) -> dict:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return notebook


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def serve(python: str, folder: Path, port: int, token: str) -> subprocess.Popen:
    """JupyterLab on a copy of the lessons, with a record of progress of its own; python: the interpreter to use."""
    environment = {**os.environ, "MINIBERT_PROGRESS": str(folder / "progress.json"), "PYTHONPATH": str(ROOT)}
    environment.pop("MINIBERT_MINE", None)
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
    }
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # no network
    command = [python, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'lessons'}", "--allow-root"]
    with open(folder / "server.txt", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5).close()
            return server
        except OSError:
            time.sleep(0.5)
    server.terminate()
    raise TimeoutError(f"JupyterLab does not answer; see {folder / 'server.txt'}")


def answers() -> dict[str, str]:
    """Exercise -> the source of the student's answer."""
    text = ANSWERS.read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def follow(page: Page, address: str, folder: Path, name: str) -> None:
    """Run all cells of a notebook, typing answers over the functions to write, and save it."""
    began, written = time.perf_counter(), answers()
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_selector("text=/\\| Idle/", timeout=60_000)  # in the status bar: the kernel is connected
    page.wait_for_timeout(1000)
    page.click(".jp-Notebook .jp-Cell >> nth=0")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Home")
    cells = json.loads((folder / "lessons" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    typed = 0
    for cell in cells:
        source = "".join(cell["source"])
        exercise = re.search(r'^check\("(\w+)"', source, re.M)
        if cell["cell_type"] == "code" and exercise and exercise[1] in written:
            versions = [WRONG] if exercise[1] == "softmax" else []
            for version in (*versions, written[exercise[1]]):
                page.keyboard.press("Enter")
                page.keyboard.press("Control+a")
                page.keyboard.insert_text(filled_in(source, version))
                if version == WRONG:
                    page.keyboard.press("Control+Enter")
                    wait_until_idle(page)
                    page.screenshot(path=folder / "wrong.png")
            typed += 1
        page.keyboard.press("Shift+Enter")
        if cell["cell_type"] == "code":
            wait_until_idle(page)
    page.screenshot(path=folder / f"{name}.png")
    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    lines = printed(folder, name)
    right = sum(line.startswith("✓") for line in lines)
    print(f"{name}: {typed} answers typed, {right} right, {time.perf_counter() - began:.0f} s", flush=True)
    wrong = [line for line in lines if "✗" in line or "not taken" in line]
    if wrong or right < typed:
        raise RuntimeError("\n".join(wrong) or f"{name}: {typed} answers typed, {right} right")


def filled_in(source: str, answer: str) -> str:
    """A cell with the student's function in place of the one that it hands out."""
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    lines = source.splitlines()
    return "\n".join([*lines[: function.lineno - 1], answer, *lines[function.end_lineno :]])


def wait_until_idle(page: Page) -> None:
    """Wait until the kernel has nothing to do."""
    page.wait_for_timeout(150)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=SECONDS * 1000)


def printed(folder: Path, name: str) -> list[str]:
    """The lines that a saved notebook shows; errors as lines that begin with ✗."""
    notebook = json.loads((folder / "lessons" / f"{name}.ipynb").read_text(encoding="utf-8"))
    lines = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            lines += "".join(output.get("text", [])).splitlines()
            if output["output_type"] == "error":
                lines.append(f"✗ {output['ename']}: {output['evalue']}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
