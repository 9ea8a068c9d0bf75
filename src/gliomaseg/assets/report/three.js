// The 3D picture, by NiiVue, where the browser has WebGL 2; elsewhere a note.
const OEDEMA = 2; // its number among the tissues; in 3D it would hide the core
const three = {box: element("three"), words: element("three-words"), button: element("three-show")};

function nifti(data, isLabel) {
  const header = new ArrayBuffer(352), view = new DataView(header), {shape, spacing, affine} = report.crop;
  view.setInt32(0, 348, true);
  [3, ...shape, 1, 1, 1, 1].forEach((n, i) => view.setInt16(40 + 2 * i, n, true));
  view.setInt16(70, 2, true); view.setInt16(72, 8, true);
  [1, ...spacing, 1, 1, 1, 1].forEach((n, i) => view.setFloat32(76 + 4 * i, n, true));
  view.setFloat32(108, 352, true); view.setFloat32(112, 1, true);
  view.setFloat32(124, isLabel ? 5 : 255, true);
  view.setUint8(123, 2); view.setInt16(254, 1, true);
  affine.slice(0, 3).forEach((row, r) => row.forEach((n, c) => view.setFloat32(280 + 16 * r + 4 * c, n, true)));
  new Uint8Array(header, 344).set([0x6e, 0x2b, 0x31, 0]);
  const file = new Uint8Array(352 + data.length);
  file.set(new Uint8Array(header)); file.set(data, 352);
  return file.buffer;
}
// A sequence without the head around the brain.
const brainOf = (name) => volumes.brain ? volumes[name].map((value, i) => volumes.brain[i] ? value : 0) : volumes[name];
async function library() {
  const block = element("niivue"), script = document.createElement("script");
  if (block) {
    const text = unpacked(block), bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    script.src = URL.createObjectURL(new Blob([await inflate(bytes)], {type: "text/javascript"}));
  } else script.src = "/assets/niivue.js";
  await new Promise((resolve, reject) => { script.onload = resolve; script.onerror = () => reject(new Error("NiiVue did not load")); document.head.append(script); });
  return globalThis.niivue;
}
async function showThree() {
  three.button.disabled = true;
  three.words.textContent = "Loading…";
  const {Niivue, NVImage} = await library(), canvas = document.createElement("canvas");
  canvas.setAttribute("aria-label", "3D picture of the brain and the tumour; drag to turn it");
  canvas.setAttribute("role", "img"); canvas.tabIndex = 0;
  three.box.replaceChildren(canvas);
  three.box.classList.add("open");
  const nv = new Niivue({backColor: [0, 0, 0, 1], show3Dcrosshair: false, isOrientCube: true, clipPlaneColor: [0, 0, 0, 0], dragAndDropEnabled: false, loadingText: "", logLevel: "error"});
  await nv.attachToCanvas(canvas);
  nv.setSliceType(nv.sliceTypeRender);
  const channel = state.channel, images = [];
  const add = async (name, isLabel) => images.push(await NVImage.loadFromUrl(
    {url: nifti(isLabel ? volumes[name] : brainOf(name), isLabel), name: name + ".nii", colormap: "gray", opacity: 1, cal_min: isLabel ? 0 : 20, cal_max: isLabel ? 5 : state.windows[name][1] * 1.2}));
  if (channel) await add(channel, false);
  await add(report.maps[0], true);
  for (const image of images) nv.addVolume(image);
  const tumour = images[images.length - 1], rows = [null, ...Object.keys(report.tissues).map(Number)];
  const colour = (n) => n ? rgb(report.tissues[n].colour) : [0, 0, 0];
  tumour.setColormapLabel({R: rows.map((n) => colour(n)[0]), G: rows.map((n) => colour(n)[1]), B: rows.map((n) => colour(n)[2]),
    A: rows.map((n) => n ? (n === OEDEMA && rows.length > 2 ? 0 : 255) : 0), I: rows.map((n) => n || 0), labels: rows.map((n) => n ? report.tissues[n].title : "")});
  nv.updateGLVolume();
  const isLeft = report.start[0] < report.crop.shape[0] / 2; // cut the brain open from the tumour's side
  if (channel) nv.setClipPlane([0.08, isLeft ? 270 : 90, 0]);
  nv.setRenderAzimuthElevation(isLeft ? 120 : 240, 15);
  globalThis.gliomaseg.nv = nv;
  three.words.textContent = "Drag to turn, scroll to move the cut. Made by NiiVue.";
}
const hasWebGL = (() => { try { return Boolean(document.createElement("canvas").getContext("webgl2")); } catch { return false; } })();
three.button.hidden = !hasWebGL;
three.words.textContent = hasWebGL ? "The brain cut open, with the tissues of the tumour core in colour; oedema is left out."
  : "3D needs WebGL 2, which this browser does not offer here. The slices above show every voxel.";
three.button.addEventListener("click", () => showThree().catch((error) => { three.words.textContent = `3D is not possible here: ${error.message}`; }));
