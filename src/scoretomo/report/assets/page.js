"use strict";

/* The page: choosing a volume, its surface, ordering the gallery, copying the methods. */

(() => {
  document.documentElement.classList.add("js");
  const gallery = document.getElementById("gallery");
  const panel = document.getElementById("viewer");
  if (!gallery) return;
  let chosen = null;

  const links = () => [...gallery.querySelectorAll("a.tile")];

  /* 3D -------------------------------------------------------------------------------------------------------------- */

  async function showSurface(sheet) {
    const slot = sheet.querySelector(".surface[data-densities]");
    if (!slot) return;
    const viewer = viewerOf(panel, slot);
    if (!viewer) return;
    const densities = await Promise.all(slot.dataset.densities.split(" ").map(unpack));
    if (sheet !== chosen) return;
    slot.append(panel);
    slot.classList.add("live");
    const mirrored = slot.dataset.hand === "mirrored" ? ", mirrored" : "";
    viewer.show(densities, densities.length === 2 ? [`volume, turned onto the truth${mirrored}`, "truth"] : []);
  }

  /* Choosing -------------------------------------------------------------------------------------------------------- */

  function choose(number, {remember = true, reveal = false} = {}) {
    const sheet = document.getElementById(`image-${number}`);
    if (!sheet || sheet === chosen) return;
    if (chosen) {
      chosen.classList.remove("chosen");
      chosen.querySelector(".surface.live")?.classList.remove("live");
    }
    chosen = sheet;
    sheet.classList.add("chosen");
    sheet.querySelector("header .steps").append(steps);
    for (const link of links()) {
      const here = link.dataset.number === String(number);
      link.classList.toggle("chosen", here);
      link.tabIndex = here ? 0 : -1;
      if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      if (here) keepInSight(link);
    }
    document.querySelectorAll(".overview .each").forEach(curve => curve.classList.toggle("chosen", curve.dataset.image === String(number)));
    const top = document.querySelector(".overview .each.chosen");
    top?.parentNode.append(top);
    if (remember) history.replaceState(null, "", `#image-${number}`);
    if (reveal) document.getElementById("sheets").scrollIntoView({block: "nearest"});
    showSurface(sheet);
  }

  /* Scroll the gallery only, not the page. */
  function keepInSight(link) {
    const box = gallery.getBoundingClientRect(), here = link.getBoundingClientRect();
    if (here.top < box.top) gallery.scrollTop -= box.top - here.top + 6;
    if (here.bottom > box.bottom) gallery.scrollTop += here.bottom - box.bottom + 6;
    if (here.left < box.left) gallery.scrollLeft -= box.left - here.left + 6;
    if (here.right > box.right) gallery.scrollLeft += here.right - box.right + 6;
  }

  function move(by) {
    const all = links(), now = all.findIndex(link => link.classList.contains("chosen"));
    const next = all[Math.min(Math.max(now + by, 0), all.length - 1)];
    if (!next) return;
    choose(next.dataset.number);
    if (gallery.contains(document.activeElement)) next.focus({preventScroll: true});
  }

  const steps = document.createElement("span");
  for (const [text, by, name] of [["←", -1, "Previous volume"], ["→", 1, "Next volume"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.title = `${name} (arrow keys)`;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", () => move(by));
    steps.append(button, " ");
  }

  document.addEventListener("click", event => {
    const link = event.target.closest('a[href^="#image-"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(link.hash.slice(7), {reveal: true});
  });

  /* Tiles of one line of the gallery: steps of the up and down keys. */
  function across() {
    const all = links();
    return all.filter(link => link.offsetTop === all[0].offsetTop).length || 1;
  }

  document.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea, summary, canvas, .scroll")) return;
    const inside = gallery.contains(event.target);
    const by = {ArrowLeft: -1, ArrowRight: 1, ...(inside && {ArrowUp: -across(), ArrowDown: across(), Home: -1e9, End: 1e9})}[event.key];
    if (!by) return;
    event.preventDefault();
    move(by);
  });

  /* Ordering -------------------------------------------------------------------------------------------------------- */

  document.getElementById("order").addEventListener("change", event => {
    const by = event.target.value;
    const rank = tile => by === "number" ? Number(tile.dataset.number) : -(parseFloat(tile.dataset[by]) || -1e9);
    gallery.append(...[...gallery.children].sort((a, b) => rank(a) - rank(b) || a.dataset.number - b.dataset.number));
    gallery.scrollTo(0, 0);
  });

  const first = links().find(link => link.classList.contains("done")) || links()[0];
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#image-")) choose(location.hash.slice(7)); });
  if (location.hash.startsWith("#image-")) choose(location.hash.slice(7));
  if (!chosen && first) choose(first.dataset.number, {remember: false});
})();

/* Copying ------------------------------------------------------------------------------------------------------------- */

(() => {
  const button = document.getElementById("copy"), text = document.getElementById("methods-text");
  if (!button) return;
  button.hidden = false;

  /* The clipboard, or where a page from a file may not use it, the selection. */
  async function copy() {
    const plain = [...text.querySelectorAll("p, li")].map(node => node.textContent.replace(/\s+/g, " ").trim()).join("\n");
    try {
      await navigator.clipboard.writeText(plain);
      return true;
    } catch {
      getSelection().selectAllChildren(text);
      return document.execCommand("copy");
    }
  }
  button.addEventListener("click", async () => {
    button.textContent = await copy() ? "Copied" : "Selected: copy it with the keyboard";
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
})();
