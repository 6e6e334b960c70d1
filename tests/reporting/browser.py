"""A headless Chromium, spoken to over the DevTools protocol: what a page does, and asks for."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_START_S = 60.0
"""A cold start on a busy machine; a warm one takes a second."""


def browser_path() -> str | None:
    """The first browser that is installed."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


class Page:
    """One page. Keeps every request that it made, and everything that went wrong in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> Any:
        """The result of one command."""
        number = len(self._waiting) + 1
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_START_S):
            return await self._waiting[number]

    async def open(self, path: Path) -> None:
        """Opens a file and waits until it is loaded and its scripts have run."""
        self._loaded.clear()
        await self.call("Page.navigate", url=path.as_uri())
        async with asyncio.timeout(_START_S):
            await self._loaded.wait()

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        """The whole page as a PNG, to be looked at."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def aclose(self) -> None:
        """Stops listening."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        async for message in self._socket:
            content = message.json()
            if "id" in content:
                self._answer(content)
            else:
                self._take(content["method"], content.get("params", {}))

    def _answer(self, content: dict[str, Any]) -> None:
        future = self._waiting[content["id"]]
        if future.done():
            return
        if "error" in content:
            future.set_exception(AssertionError(content["error"]))
        else:
            future.set_result(content["result"])

    def _take(self, method: str, about: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(about["url"])
        elif method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.problems.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.problems.append(str(about["entry"]))


@asynccontextmanager
async def opened_browser(folder: Path, *, width: int = 1200) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose profile is in the folder."""
    found = browser_path()
    assert found is not None
    process = await asyncio.create_subprocess_exec(
        *(found, *_ARGUMENTS, f"--user-data-dir={folder}", *_AS_ROOT, "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
    )
    try:
        port = await _port(folder / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session, asyncio.timeout(_START_S):
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(each for each in await answer.json() if each["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                await page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=900,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                try:
                    yield page
                finally:
                    await page.aclose()
    finally:
        await _end(process)


_ARGUMENTS = (
    *("--headless=new", "--remote-debugging-port=0", "--disable-gpu", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--disable-extensions", "--mute-audio"),
)
# Chromium refuses to run its sandbox as root; what it opens here was made here.
_AS_ROOT = ("--no-sandbox",) if getattr(os, "geteuid", lambda: 1)() == 0 else ()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    """The port that the browser listens on, once it says so."""
    async with asyncio.timeout(_START_S):
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) > 1:
                return int(lines[0])
            assert process.returncode is None, f"the browser ended with {process.returncode}"
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
