"use strict";

/* Heterogeneity: the scatter of volumes with its card and panel, the sliders along trajectories, the consensus in colours. */

(() => {
  const section = document.getElementById("heterogeneity");
  if (!section) return;
  const svg = section.querySelector("svg.scatter"), figure = svg.closest("figure");
  const {axes, frame} = JSON.parse(document.getElementById("places").textContent);
  const points = [...svg.querySelectorAll("circle.volume")];
  const ring = svg.querySelector(".here");
  const card = section.querySelector(".card"), panel = section.querySelector(".chosen-volume");
  const sheetOf = number => document.getElementById(`image-${number}`);
  const picture = (number, k) => sheetOf(number)?.querySelectorAll(".row img")[k]?.src;
  const thumbnail = number => document.querySelector(`.tile[data-number="${number}"] img`)?.src;
  let chosen = null, shownAxes = [0, Math.min(1, axes.length - 1)];

  /* Axes and colours ------------------------------------------------------------------------------------------------ */

  const make = (name, attributes, text = "") => {
    const node = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  };
  const across = place => frame.left + place * (frame.width - frame.left - frame.right);
  const up = place => frame.height - frame.bottom - place * (frame.height - frame.top - frame.bottom);

  function arrange() {
    const [x, y] = shownAxes.map(k => axes[k]);
    points.forEach((point, k) => {
      point.setAttribute("cx", across(x.places[k]).toFixed(1));
      point.setAttribute("cy", up(y.places[k]).toFixed(1));
    });
    const ticks = svg.querySelector(".ticks");
    ticks.replaceChildren();
    for (const [label, place] of y.ticks) {
      ticks.append(make("path", {class: "grid", d: `M${frame.left} ${up(place)}H${frame.width - frame.right}`}));
      ticks.append(make("text", {class: "tick", x: frame.left - 7, y: up(place) + 4, "text-anchor": "end"}, label));
    }
    for (const [label, place] of x.ticks) {
      ticks.append(make("text", {class: "tick", x: across(place), y: frame.height - frame.bottom + 17, "text-anchor": "middle"}, label));
    }
    svg.querySelector(".axis.x").textContent = x.name;
    svg.querySelector(".axis.y").textContent = y.name;
    svg.setAttribute("aria-label", `Each volume by ${x.name} and ${y.name}`);
    mark();
  }

  ["x", "y"].forEach((name, which) => section.querySelector(`select[name="${name}"]`).addEventListener("change", event => {
    shownAxes[which] = Number(event.target.value);
    arrange();
  }));
  section.querySelector('select[name="colour"]')?.addEventListener("change", event => {
    figure.dataset.colour = event.target.value;
  });

  /* Pointing: the card ---------------------------------------------------------------------------------------------- */

  /* The point nearest to the pointer, if it is near. */
  function nearest(event) {
    const box = svg.getBoundingClientRect(), scale = frame.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = null, least = Math.max(14, 22 * scale);
    for (const point of points) {
      const distance = Math.hypot(point.getAttribute("cx") - x, point.getAttribute("cy") - y);
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  function showCard(point) {
    card.hidden = !point;
    points.forEach(other => other.classList.toggle("pointed", other === point));
    if (!point) return;
    const number = point.dataset.number;
    fill(card, number);
    const box = svg.getBoundingClientRect(), around = figure.getBoundingClientRect(), scale = box.width / frame.width;
    const x = point.getAttribute("cx") * scale + box.left - around.left, y = point.getAttribute("cy") * scale + box.top - around.top;
    const right = x < figure.clientWidth / 2;
    card.style.left = `${right ? x + 14 : Math.max(x - 14 - card.offsetWidth, 0)}px`;
    card.style.top = `${Math.min(Math.max(y - card.offsetHeight / 2, 0), figure.clientHeight - card.offsetHeight)}px`;
  }

  /* Put what the page has of a volume into an element's places for it. */
  function fill(place, number) {
    const point = points.find(one => one.dataset.number === number), sheet = sheetOf(number);
    const pictures = {image: picture(number, 0), view: picture(number, 1), surface: thumbnail(number)};
    for (const [name, source] of Object.entries(pictures)) {
      const image = place.querySelector(`img.${name}`);
      if (!image) continue;
      image.hidden = !source;
      if (source) image.src = source;
    }
    const texts = {
      name: `Volume ${number}`,
      state: section.dataset.states > 1 ? `state ${point.dataset.state}` : "",
      reliability: sheet?.querySelector("header .reliability")?.textContent || "",
      reason: sheet?.querySelector(".reason")?.textContent || "",
    };
    for (const [name, text] of Object.entries(texts)) {
      const node = place.querySelector(`.${name}`);
      if (node) node.textContent = text;
    }
    const badge = place.querySelector(".reliability");
    if (badge) badge.className = sheet?.querySelector("header .reliability")?.className || "reliability";
  }

  svg.addEventListener("pointermove", event => { if (event.pointerType !== "touch") showCard(nearest(event)); });
  svg.addEventListener("pointerleave", () => showCard(null));
  svg.addEventListener("focusin", event => showCard(event.target.closest("a")?.firstElementChild || null));
  svg.addEventListener("focusout", () => showCard(null));

  /* Choosing: the panel --------------------------------------------------------------------------------------------- */

  function mark() {
    ring.toggleAttribute("hidden", !chosen);
    if (!chosen) return;
    ring.setAttribute("cx", chosen.getAttribute("cx"));
    ring.setAttribute("cy", chosen.getAttribute("cy"));
  }

  async function choose(point) {
    if (!point || point === chosen) return;
    chosen = point;
    const number = point.dataset.number;
    for (const one of points) {
      one.parentNode.tabIndex = one === point ? 0 : -1;
      if (one === point) one.parentNode.setAttribute("aria-current", "true"); else one.parentNode.removeAttribute("aria-current");
    }
    mark();
    fill(panel, number);
    panel.querySelector("a").href = `#image-${number}`;
    const slot = panel.querySelector(".slot"), stage = panel.querySelector(".viewer");
    const density = document.getElementById(`density-${number}`);
    const viewer = density && viewerOf(stage, slot);
    slot.classList.toggle("live", Boolean(viewer));
    stage.hidden = !viewer;
    if (!viewer) return;
    const unpacked = inCommonFrame(await unpack(density.id));
    if (point === chosen) viewer.show([unpacked], []);
  }

  svg.addEventListener("click", event => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    /* Enter on a link is a click without a place. */
    const point = event.detail === 0 ? event.target.closest("a")?.firstElementChild : nearest(event);
    choose(point);
  });

  svg.addEventListener("keydown", event => {
    const axis = {ArrowLeft: 0, ArrowRight: 0, Home: 0, End: 0, ArrowUp: 1, ArrowDown: 1}[event.key];
    if (axis === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const places = axes[shownAxes[axis]].places;
    const order = points.map((_, k) => k).sort((a, b) => places[a] - places[b] || a - b);
    const now = order.indexOf(points.indexOf(event.target.closest("a")?.firstElementChild || chosen));
    const to = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: order.length - 1}[event.key];
    const next = points[order[Math.min(Math.max(to, 0), order.length - 1)]];
    choose(next);
    next.parentNode.focus({preventScroll: true});
  });

  points.forEach(point => { point.parentNode.tabIndex = -1; });
  const first = points.find(point => point.dataset.number === section.dataset.first) || points[0];
  first.parentNode.tabIndex = 0;
  whenNear(panel, () => choose(chosen || first));

  /* Along a trajectory -------------------------------------------------------------------------------------------------- */

  const trajectories = [...section.querySelectorAll(".trajectory[data-frames]")], stage = section.querySelector(".trajectory-stage");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let active = null, playing = 0;

  async function go(trajectory, place) {
    trajectory.place = place;
    trajectory.querySelector("input").value = Math.round(1000 * place);
    const viewer = viewerOf(stage.querySelector(".viewer"), stage);
    if (!viewer) return;
    if (active === trajectory) { if (trajectory.ready) viewer.moveTo(place); return; }
    active = trajectory;
    trajectory.ready = false;
    trajectories.forEach(other => other.classList.toggle("active", other === trajectory));
    const frames = await Promise.all(trajectory.dataset.frames.split(" ").map(unpack));
    if (active !== trajectory) return;
    stage.classList.add("live");
    viewer.showFrames(frames, variabilityOf(frames), trajectory.place);
    viewer.root.querySelector(".label.left").textContent = trajectory.querySelector("h3").textContent;
    trajectory.ready = true;
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    trajectories.forEach(each => each.querySelector("button").setAttribute("aria-pressed", "false"));
  }

  /* There and back in six seconds; whole frames, more slowly, where less motion is wanted. */
  function play(trajectory) {
    stop();
    trajectory.querySelector("button").setAttribute("aria-pressed", "true");
    const whole = trajectory.dataset.frames.split(" ").length - 1, span = calm.matches ? 1000 * whole : 3000;
    let start = null;
    const tick = now => {
      start ??= now - trajectory.place * span;
      const turn = (now - start) / span % 2, back = turn < 1 ? turn : 2 - turn;
      const place = calm.matches ? Math.round(back * whole) / whole : back;
      if (place !== trajectory.place || active !== trajectory) go(trajectory, place);
      playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
  }

  for (const trajectory of trajectories) {
    trajectory.place = 0;
    trajectory.querySelector("input").addEventListener("input", event => { stop(); go(trajectory, event.target.value / 1000); });
    trajectory.querySelector("button").addEventListener("click", event => {
      if (event.currentTarget.getAttribute("aria-pressed") === "true") stop(); else play(trajectory);
    });
    trajectory.querySelectorAll(".strip img").forEach((image, k, all) => image.addEventListener("click", () => { stop(); go(trajectory, k / (all.length - 1)); }));
  }
  if (trajectories.length) whenNear(stage, () => { if (!active) go(trajectories[0], 0); });
})();

/* Rigid bodies ------------------------------------------------------------------------------------------------------ */

(() => {
  const stage = document.querySelector("#bodies .bodies-stage");
  if (!stage) return;
  whenNear(stage, async () => {
    const viewer = viewerOf(stage.querySelector(".viewer"), stage);
    if (!viewer) return;
    const [whole, colours] = await Promise.all(["map-bodies", "map-colours"].map(unpack));
    stage.classList.add("live");
    viewer.show([whole], [], colours);
  });
})();

/* The consensus ------------------------------------------------------------------------------------------------------ */

(() => {
  const stage = document.querySelector("#consensus .consensus-stage");
  if (!stage) return;
  const choices = [...stage.querySelectorAll('input[type="radio"]')];
  async function show(name) {
    const viewer = viewerOf(stage.querySelector(".viewer"), stage);
    if (!viewer) return;
    const tinted = name === "map-consensus" && document.getElementById("map-variability");
    const [density, variability] = await Promise.all([unpack(name), tinted ? unpack("map-variability") : null]);
    stage.classList.add("live");
    viewer.show([density], [], variability);
  }
  choices.forEach(choice => choice.addEventListener("change", () => show(choice.value)));
  whenNear(stage, () => show(choices.find(choice => choice.checked)?.value || "map-consensus"));
})();
