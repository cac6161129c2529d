"use strict";

/* Densities out of the page: unpacked, and shown in a viewer if this browser has what that needs. */

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

/* A density that was turned onto its truth, shown in the frame that all volumes share. */
function inCommonFrame(density) {
  if (!density.common) return density;
  const numbers = density.common.split(" ").map(Number);
  return {...density, frame: [numbers.slice(0, 3), numbers.slice(3, 6), numbers.slice(6, 9)], offset: numbers.slice(9)};
}

/* Range of the density over the frames of a trajectory: 255 where it is largest, or two levels of the surface. A range of less than a
   quarter of a level is never 255, so that small changes stay pale. */
function variabilityOf(frames) {
  const low = frames[0].bytes.slice(), high = frames[0].bytes.slice();
  for (const {bytes} of frames) {
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] < low[i]) low[i] = bytes[i];
      if (bytes[i] > high[i]) high[i] = bytes[i];
    }
  }
  const level = frames[0].level, most = high.reduce((largest, value, i) => Math.max(largest, value - low[i]), 0);
  const scale = 255 / Math.min(2 * level, Math.max(level / 4, most));
  return {...frames[0], bytes: high.map((value, i) => Math.min(255, scale * (value - low[i])))};
}

/* The viewer of a panel, made when it is first needed; a sentence in the panel's place explains why there is none. */
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
  const viewer = viewers.get(panel);
  if (typeof viewer !== "string") return viewer;
  panel.hidden = true;
  if (!place.querySelector(".sorry")) place.insertAdjacentHTML("beforeend", `<p class="sorry">${viewer}</p>`);
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
