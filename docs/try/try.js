// Runs an exported model in the browser: RGB bytes in, class ids out. build.py puts the files it needs beside it.
import * as ort from './ort.wasm.min.mjs';

const $ = (id) => document.getElementById(id);
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
ort.env.wasm.wasmPaths = new URL('./', import.meta.url).href;

let network, facts, labels;

function say(text, wrong = false) {
  $('said').textContent = text;
  $('said').className = wrong ? 'wrong' : '';
}

// The size of the network's input, as srzoo.zoo.transform.Transform.content_size has it.
function inputSize(height, width) {
  const { short_side, long_side, max_pixels, multiple } = facts.transform;
  const scale = Math.min(
    short_side / Math.min(height, width),
    Math.sqrt(max_pixels / (height * width)),
    (long_side ?? Infinity) / Math.max(height, width),
  );
  return [height, width].map((side) => {
    const scaled = Math.min(Math.round(side * scale), Math.floor(max_pixels / 32));
    return Math.max(32, Math.floor(scaled / multiple) * multiple);
  });
}

function rgb(picture, height, width) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(height * width * 3);
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let channel = 0; channel < 3; channel++) bytes[3 * pixel + channel] = data[4 * pixel + channel];
  }
  return new ort.Tensor('uint8', bytes, [1, height, width, 3]);
}

function draw(target, colourOf, height, width) {
  const pixels = new ImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel++) pixels.data.set([...colourOf(labels[pixel]), 255], 4 * pixel);
  target.width = width;
  target.height = height;
  target.getContext('2d').putImageData(pixels, 0, 0);
}

function showLegend() {
  const counts = new Array(facts.classes.length).fill(0);
  for (const label of labels) counts[label]++;
  const order = counts.map((count, index) => [count, index]).filter(([count]) => count).sort((a, b) => b[0] - a[0]);
  $('legend').replaceChildren(...order.map(([count, index]) => {
    const row = document.createElement('tr');
    for (const text of ['', facts.classes[index], `${(100 * count / labels.length).toFixed(1)}%`]) {
      row.insertCell().textContent = text;
    }
    row.cells[0].style.background = `rgb(${facts.palette[index].join(',')})`;
    return row;
  }));
}

async function segment(file) {
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch (error) {
    return say(`${file.name} is not an image that this browser reads`, true);
  }
  say('Running…');
  await new Promise((done) => setTimeout(done, 30)); // let the page be drawn
  const [height, width] = inputSize(picture.height, picture.width);
  const began = performance.now();
  const found = await network.run({ [network.inputNames[0]]: rgb(picture, height, width) });
  const seconds = (performance.now() - began) / 1000;
  labels = Uint8Array.from(found[network.outputNames[0]].data, Number);
  $('image').width = picture.width;
  $('image').height = picture.height;
  $('image').getContext('2d').drawImage(picture, 0, 0);
  draw($('overlay'), (label) => facts.palette[label], height, width);
  $('overlay').style.height = '100%';
  showLegend();
  const gray = document.createElement('canvas');
  draw(gray, (label) => [label, label, label], height, width);
  $('labels').href = gray.toDataURL('image/png');
  $('view').hidden = $('controls').hidden = false;
  say(`${picture.width}x${picture.height}, run at ${width}x${height} in ${seconds.toFixed(1)} s`);
}

function take(files) {
  if (network && files.length) segment(files[0]).catch((error) => say(String(error.message || error), true));
}

$('file').addEventListener('change', () => take($('file').files));
$('drop').addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
$('drop').addEventListener('dragleave', () => $('drop').classList.remove('over'));
$('drop').addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  take(event.dataTransfer.files);
});
$('drop').addEventListener('keydown', (event) => { if (event.key === 'Enter') $('file').click(); });
const fade = () => { $('overlay').style.opacity = $('opacity').value; };
$('opacity').addEventListener('input', fade);
fade();

try {
  facts = await (await fetch('model.json')).json();
  network = await ort.InferenceSession.create('model.onnx', { executionProviders: ['wasm'] });
  say(`${facts.name} is ready`);
  const wanted = new URLSearchParams(location.search).get('image'); // a file beside the page
  if (wanted) {
    const address = new URL(wanted, location.href);
    if (address.origin !== location.origin) throw new Error(`${wanted} is not beside this page`);
    await segment(new File([await (await fetch(address)).blob()], wanted));
  }
} catch (error) {
  const advice = network ? '' : '; serve this folder (python -m http.server) after build.py';
  say(`${error.message || error}${advice}`, true);
}
