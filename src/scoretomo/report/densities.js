"use strict";

/* Densities out of the page: unpacked, and shown in a viewer if this browser has what that needs. */

const FACTS = JSON.parse(document.getElementById("facts").textContent);

/* Undo what the report did: base64, deflate, differences along x. */
async function unpack(name) {
  const node = document.getElementById(name);
  const packed = Uint8Array.from(atob(node.textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const side = Number(node.dataset.side);
  for (let i = 0; i < bytes.length; i++) if (i % side) bytes[i] += bytes[i - 1];
  const {box, level, peak, kind} = node.dataset;
  return {bytes, side, box: Number(box), level: Number(level), peak: Number(peak), kind, common: node.dataset.frame};
}

/* A density that was turned onto its truth, seen in the frame that all volumes share. */
function inCommonFrame(density) {
  if (!density.common) return density;
  const numbers = density.common.split(" ").map(Number);
  return {...density, frame: [numbers.slice(0, 3), numbers.slice(3, 6), numbers.slice(6, 9)], offset: numbers.slice(9)};
}

/* Where frames on one scale differ most: 255 where the density rises or falls most, or by two levels of the surface. A change of less
   than a quarter of a level is never all of it, so that next to nothing does not look like much. */
function changes(frames) {
  const low = frames[0].bytes.slice(), high = frames[0].bytes.slice();
  for (const {bytes} of frames) {
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] < low[i]) low[i] = bytes[i];
      if (bytes[i] > high[i]) high[i] = bytes[i];
    }
  }
  const level = frames[0].level, most = high.reduce((found, value, i) => Math.max(found, value - low[i]), 0);
  const scale = 255 / Math.min(2 * level, Math.max(level / 4, most));
  return {...frames[0], bytes: high.map((value, i) => Math.min(255, scale * (value - low[i])))};
}

/* The viewer of a panel, made when it is first needed; instead of one, a sentence in the panel's place says why there is none. */
const viewers = new Map();
function viewerOf(panel, place = panel.parentNode) {
  if (!viewers.has(panel)) {
    let sorry = "";
    try {
      panel.hidden = false;
      if (typeof DecompressionStream === "undefined") sorry = "This browser is too old to unpack the surfaces; the pictures show the same.";
      else viewers.set(panel, new SurfaceViewer(panel, FACTS.unit, FACTS.reach));
    } catch {
      sorry = "Surfaces need WebGL2, which this browser does not offer; the pictures show the same.";
    }
    if (sorry) viewers.set(panel, sorry);
  }
  const found = viewers.get(panel);
  if (typeof found !== "string") return found;
  panel.hidden = true;
  if (!place.querySelector(".sorry")) place.insertAdjacentHTML("beforeend", `<p class="sorry">${found}</p>`);
  return null;
}

/* Do something once, when an element comes near the window. */
function whenNear(element, act) {
  const observer = new IntersectionObserver(entries => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  }, {rootMargin: "300px"});
  observer.observe(element);
}
