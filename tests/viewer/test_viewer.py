"""The page itself in headless Chromium."""

import base64
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_view import UTM, make_scene

from hsonet_mm.viewer.report import find_results, view_scenes

pytestmark = pytest.mark.any_host


CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


class Browser:
    """Headless Chromium, spoken to over two pipes in its DevTools protocol."""

    def __init__(self, profile):
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()

        def place():  # where Chromium expects them; first out of each other's way
            reading, writing = os.dup(command_read), os.dup(answer_write)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        options = [
            '--headless=new',
            '--remote-debugging-pipe',
            '--no-sandbox',
            '--disable-gpu',
            '--no-first-run',
        ]
        options += ['--disable-dev-shm-usage', f'--user-data-dir={profile}']
        self._process = subprocess.Popen(
            [CHROMIUM, *options], preexec_fn=place, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(command_read)
        os.close(answer_write)
        self._buffer, self._sent, self._session, self.errors = b'', 0, None, []
        self._loads = 0
        target = self.send('Target.createTarget', url='about:blank')['targetId']
        self._session = self.send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.send(f'{domain}.enable')

    def close(self):
        with suppress(Exception):
            self._session = None
            self.send('Browser.close')
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def send(self, method, **params):
        self._sent += 1
        message = {'id': self._sent, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        deadline = time.monotonic() + 60
        while (answer := self._receive(deadline, method)).get('id') != self._sent:
            pass
        assert 'error' not in answer, answer
        return answer['result']

    def _receive(self, deadline, method):
        while b'\0' not in self._buffer:
            assert select.select([self._read], [], [], max(deadline - time.monotonic(), 0))[0], (
                f'no answer to {method}'
            )
            data = os.read(self._read, 1 << 20)
            assert data, 'Chromium ended'
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b'\0')
        message = json.loads(line)
        self._note(message.get('method'), message.get('params', {}))
        return message

    def _note(self, event, params):
        self._loads += event == 'Page.loadEventFired'
        if event == 'Runtime.exceptionThrown':
            self.errors.append(params['exceptionDetails'])
        elif (
            event == 'Log.entryAdded' and 'readback' not in params['entry']['text']
        ):  # which is by these tests
            self.errors.append(params['entry'])
        elif event == 'Runtime.consoleAPICalled':
            self.errors.append(params['args'])
        elif event == 'Network.requestWillBeSent' and not params['request']['url'].startswith(
            ('file:', 'data:')
        ):
            self.errors.append(params['request']['url'])

    def js(self, code):
        answer = self.send('Runtime.evaluate', expression=code, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def wait(self, code, seconds=60):
        end = time.monotonic() + seconds
        while not self.js(code):
            assert time.monotonic() < end, f'never: {code}'
            time.sleep(0.03)

    def open(self, path):
        self._load('Page.navigate', url=path.resolve().as_uri())

    def reload(self):
        self._load('Page.reload')

    def _load(self, method, **params):
        # By the event, not by document.readyState: that of the page that is left may still say "complete", or vanish.
        loads, deadline = self._loads, time.monotonic() + 60
        self.send(method, **params)
        while self._loads == loads:
            self._receive(deadline, method)

    def resize(self, width, height):
        self.send(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def mouse(self, kind, place, **more):
        self.send('Input.dispatchMouseEvent', type=kind, x=place[0], y=place[1], **more)

    def drag(self, start, end):
        self.mouse('mouseMoved', start)
        self.mouse('mousePressed', start, button='left', clickCount=1)
        for part in (0.5, 1):
            place = [a + (b - a) * part for a, b in zip(start, end, strict=True)]
            self.mouse('mouseMoved', place, button='left', buttons=1)
        self.mouse('mouseReleased', end, button='left', clickCount=1)

    def click(self, place):
        self.drag(place, place)

    def key(self, name):
        text = {'text': name} if len(name) == 1 else {}
        codes = {'ArrowLeft': 37, 'ArrowRight': 39, 'Home': 36, 'Escape': 27}
        self.send(
            'Input.dispatchKeyEvent',
            type='keyDown',
            key=name,
            windowsVirtualKeyCode=codes.get(name, 0),
            **text,
        )
        self.send('Input.dispatchKeyEvent', type='keyUp', key=name, windowsVirtualKeyCode=codes.get(name, 0))


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    if CHROMIUM is None or sys.platform == 'win32':
        pytest.skip('no chromium, chromium-browser or google-chrome here: the page is not tried in a browser')
    browser = Browser(tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()


SETTLED = 'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))'
MASKED = """(() => {
  const {width, height} = document.getElementById('mask');
  const {data} = document.getElementById('mask').getContext('2d').getImageData(0, 0, width, height);
  let count = 0;
  for (let i = 3; i < data.length; i += 4) count += data[i] > 127;
  return count;
})()"""


class TestPage:
    """What users do, by real events, from ``file://``."""

    @pytest.fixture(autouse=True)
    def opened(self, browser, scene):
        self.browser = browser
        browser.errors.clear()
        browser.resize(1000, 800)
        browser.open(scene[1] / 'index.html')
        self.ready()
        yield
        assert browser.errors == []
        assert browser.js("document.getElementById('notice').hidden")

    def ready(self):
        self.browser.js(SETTLED)
        self.browser.wait("document.getElementById('stage').dataset.waiting === '0'")
        self.browser.js(SETTLED)

    def box(self, name):
        return self.browser.js(
            f"(() => {{ const b = document.getElementById('{name}').getBoundingClientRect(); "
            'return [b.left, b.top, b.width, b.height]; })()'
        )

    def text(self, name):
        return self.browser.js(f"document.getElementById('{name}').textContent")

    def place(self, row, column):
        """Where a pixel of the scene is in the window while the whole scene is shown."""
        left, top, width, height = self.box('stage')
        zoom = 0.96 * min(width / 1100, height / 700)
        return left + width / 2 + (column - 550) * zoom, top + height / 2 + (row - 350) * zoom

    def clip(self):
        return float(
            re.search(
                r'inset\(0(?:px)? 0(?:px)? 0(?:px)? ([\d.]+)%\)',
                self.browser.js("document.getElementById('after').style.clipPath"),
            )[1]
        )

    def colour(self, canvas, place):
        """What the screen shows of a canvas alone: those with pictures cannot be read back by a page from the disk."""
        others = [name for name in ('before', 'after', 'mask', 'lines', 'swipe') if name != canvas]
        for name in others:
            self.browser.js(f"document.getElementById('{name}').style.visibility = 'hidden'")
        shot = self.browser.send('Page.captureScreenshot', format='png')['data']
        for name in others:
            self.browser.js(f"document.getElementById('{name}').style.visibility = ''")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(shot), np.uint8), cv2.IMREAD_COLOR)
        return image[round(place[1]), round(place[0])]

    def test_swipe_moves(self):
        assert self.clip() == 50
        left, top, width, height = self.box('swipe')
        handle = (left + width / 2, top + height / 2)
        self.browser.drag(handle, (handle[0] - 250, handle[1]))
        self.browser.js(SETTLED)
        assert self.clip() == pytest.approx(25, abs=0.5)
        assert self.browser.js('document.activeElement.id') == 'swipe'
        self.browser.key('ArrowRight')
        self.browser.js(SETTLED)
        assert self.clip() == pytest.approx(27, abs=0.5)
        assert self.browser.js("document.getElementById('swipe').getAttribute('aria-valuenow')") == '27'
        self.browser.key('Home')
        self.browser.js(SETTLED)
        assert self.clip() == 0
        assert self.browser.js("document.getElementById('name-before').hidden")
        spot = self.place(320, 450)  # black before, white after
        assert self.colour('before', spot).max() < 30
        assert self.colour('after', spot).min() > 225

    def test_slider_changes_the_mask(self):
        zoom = self.place(0, 1)[0] - self.place(0, 0)[0]
        pixels = (80 * 60 - 20 * 20 + 40 * 100 + 6 * 5) * zoom**2
        first = self.browser.js(MASKED)
        assert first == pytest.approx(pixels, rel=0.1)
        assert self.text('value') == '0.700'
        assert self.browser.js("document.getElementById('reset').disabled")
        left, top, width, height = self.box('threshold')
        self.browser.drag((left + 0.7 * width, top + height / 2), (left + 0.9 * width, top + height / 2))
        self.browser.js(SETTLED)
        assert 0.8 < float(self.text('value')) < 0.97
        assert self.browser.js(MASKED) == pytest.approx(40 * 100 * zoom**2, rel=0.1)
        self.browser.drag((left + 0.9 * width, top + height / 2), (left + 0.6 * width, top + height / 2))
        self.browser.js(SETTLED)
        assert self.browser.js(MASKED) == pytest.approx(pixels + 20 * 20 * zoom**2, rel=0.1)
        self.browser.click([self.box('reset')[0] + 10, self.box('reset')[1] + 10])
        self.browser.js(SETTLED)
        assert self.browser.js(MASKED) == first
        self.browser.key('m')
        self.browser.js(SETTLED)
        assert self.browser.js(MASKED) == 0

    def test_a_polygon_tells_its_area(self):
        assert self.browser.js("document.getElementById('card').hidden")
        self.browser.mouse('mouseMoved', self.place(120, 80))
        assert '1,1' in self.text('card')  # on the way over it
        self.browser.mouse('mouseMoved', self.place(90, 100))  # its hole
        assert self.browser.js("document.getElementById('card').hidden")
        self.browser.click(self.place(120, 80))
        self.browser.mouse('mouseMoved', self.place(600, 600))
        area = float(re.match(r'([\d,]+) m²', self.text('card'))[1].replace(',', ''))
        assert area == pytest.approx((80 * 60 - 20 * 20) * 0.25, rel=3e-3)
        assert 'mean probability 0.78' in self.text('card')
        assert 'before → after' in self.text('card')
        self.browser.key('Escape')
        assert self.browser.js("document.getElementById('card').hidden")
        self.browser.click(self.place(500, 500))
        assert self.browser.js("document.getElementById('card').hidden")
        self.browser.key('n')
        assert self.text('count') == '1 of 3'
        assert 'mean probability 0.78' in self.text('card')

    def test_keys_of_polygons(self):
        checked = "document.getElementById('show-lines').checked"
        self.browser.click(self.place(120, 80))
        self.browser.key('o')
        assert not self.browser.js(checked)
        assert self.browser.js("document.getElementById('card').hidden")  # its outline is gone
        self.browser.key('n')
        assert self.browser.js(checked)
        assert not self.browser.js("document.getElementById('card').hidden")

    def test_brackets_swipe(self):
        self.browser.key('[')
        self.browser.js(SETTLED)
        assert self.clip() == pytest.approx(48)
        for modifiers, split in ((1, 50), (3, 52), (4, 52), (2, 52)):  # Alt, AltGr, Cmd (back), Ctrl
            self.browser.send('Input.dispatchKeyEvent', type='rawKeyDown', key=']', modifiers=modifiers)
            self.browser.js(SETTLED)
            assert self.clip() == pytest.approx(split)

    def test_zooming_loads_finer_tiles(self):
        level = "Number(document.getElementById('stage').dataset.level)"
        self.browser.resize(400, 500)
        self.browser.reload()
        self.ready()
        loaded = "performance.getEntriesByType('resource').map((entry) => entry.name.split('/tiles/')[1])"
        coarse = self.browser.js(level)
        assert coarse >= 1
        place = self.place(320, 450)
        for _ in range(6):
            self.browser.mouse('mouseWheel', place, deltaX=0, deltaY=-240)
        self.ready()
        assert self.browser.js(level) == 0
        fine = [name for name in self.browser.js(loaded) if name]
        assert 'before/0/0_0.jpg' in fine or not fine  # some versions do not list files
        assert self.colour('before', place).max() < 30  # what was under the pointer still is
        scale = self.text('scale')
        self.browser.click([self.box('fit')[0] + 5, self.box('fit')[1] + 5])
        self.ready()
        assert self.browser.js(level) == coarse
        assert self.text('scale') != scale

    def test_drag_and_coordinates(self):
        self.browser.mouse('mouseMoved', self.place(100, 200))
        x, y, crs = self.text('place').split(' ')
        assert float(x.rstrip(',')) == pytest.approx(500_100, abs=1)
        assert float(y) == pytest.approx(5_000_000 - 50, abs=1)
        assert crs == UTM
        start = self.place(100, 200)
        self.browser.drag(start, (start[0] + 100, start[1] + 60))
        assert self.text('place').startswith(x)  # the ground came along
        self.browser.mouse('mouseMoved', (2, 780))
        assert self.browser.js("document.getElementById('place').hidden")

    def test_no_value_is_left_out(self):
        ground = self.colour('lines', (self.box('stage')[0] + 200, self.box('stage')[1] + 5))
        assert np.abs(self.colour('before', self.place(600, 1050)).astype(int) - ground).max() < 3
        assert np.abs(self.colour('before', self.place(480, 950)).astype(int) - ground).max() > 20

    def test_pinch_zooms(self):
        scale = self.text('scale')
        self.browser.send('Emulation.setTouchEmulationEnabled', enabled=True, maxTouchPoints=2)
        x, y = self.place(320, 300)
        for kind, gap in (('touchStart', 30), ('touchMove', 60), ('touchMove', 120), ('touchEnd', None)):
            points = [] if gap is None else [{'x': x - gap, 'y': y, 'id': 1}, {'x': x + gap, 'y': y, 'id': 2}]
            self.browser.send('Input.dispatchTouchEvent', type=kind, touchPoints=points)
        self.browser.js(SETTLED)
        self.browser.send('Emulation.setTouchEmulationEnabled', enabled=False)
        assert self.text('scale') != scale


def test_missing_tiles_are_said(browser, scene, tmp_path):
    """A page without its tiles says so instead of staying empty."""
    broken = shutil.copytree(scene[1], tmp_path / 'view')
    shutil.rmtree(broken / 'tiles' / 'probs')
    browser.open(broken / 'index.html')
    browser.wait("!document.getElementById('notice').hidden")
    assert 'tiles are missing' in browser.js("document.getElementById('notice').textContent")
    browser.errors.clear()


def test_old_browser_is_said(browser, scene):
    """And stays said: that no tile can be read is no second trouble."""
    source = 'delete window.DecompressionStream'
    script = browser.send('Page.addScriptToEvaluateOnNewDocument', source=source)['identifier']
    browser.open(scene[1] / 'index.html')
    browser.wait("document.getElementById('stage').dataset.waiting === '0'")
    assert 'too old' in browser.js("document.getElementById('notice').textContent")
    browser.send('Page.removeScriptToEvaluateOnNewDocument', identifier=script)
    browser.errors.clear()


def test_report_sorts(browser, tmp_path):
    for name, side in (('a', 20), ('b', 40), ('c', 10)):
        make_scene(tmp_path / 'r' / name, 90, 120, ((5, 5, side, side, 255),), hole=False)
    list(view_scenes(find_results(tmp_path / 'r'), tmp_path / 'r', tmp_path / 'report'))
    browser.errors.clear()
    browser.open(tmp_path / 'report' / 'index.html')
    order = (
        "[...document.querySelectorAll('tbody th a')].map((link) => link.getAttribute('href')[0]).join('')"
    )
    assert browser.js(order) == 'abc'
    browser.js("document.querySelectorAll('thead button')[1].click()")
    assert browser.js(order) == 'bac'
    browser.js("document.querySelectorAll('thead button')[1].click()")
    assert browser.js(order) == 'cab'
    assert browser.errors == []
