"use strict";

/* Isosurfaces that can be turned: one or two densities side by side, or a trajectory, ray-marched in one WebGL2 canvas.
   Coordinates on screen are those of the pictures: x right, y down, z into the page. A point of the screen u is the point Qᵀu
   of the volume, in box sides about voxel side / 2 (whole-number division). */

const FACTS = JSON.parse(document.getElementById("facts").textContent);   /* unit, reach, shading, colours of bodies */

const VERTEX = `#version 300 es
in vec2 corner;
uniform vec2 reach;                       // half width and half height of the view, in box sides
out vec2 place;
void main() { place = corner * reach; gl_Position = vec4(corner.x, -corner.y, 0, 1); }`;

/* A number, or several, as the shader's language has them. */
const number = value => Number.isInteger(value) ? value.toFixed(1) : String(value);
const vector = values => `vec${values.length}(${values.map(number).join(", ")})`;

/* The shader, with the light and colours of the report's own pictures (graphics/shading.py). */
const fragment = light => `#version 300 es
precision highp float;
precision highp sampler3D;
in vec2 place;
out vec4 pixel;
uniform sampler3D density, next, variability;   // next: the next volume of a trajectory; variability: where it is orange, or colours
uniform float blend, tinted, tintCentre;  // share of the next one; 1 where variability is drawn, 2 where colours are
uniform vec3 offset;                      // from the frame of the view to that of the density, in box sides
uniform mat3 turn;                        // Q
uniform float level, voxel, centre;       // voxel: one sample of the texture, in box sides
uniform vec3 colour;

float at(vec3 p) {
  float here = texture(density, p + centre).r;
  return blend > 0.0 ? mix(here, texture(next, p + centre).r, blend) : here;
}

vec3 slope(vec3 p) {
  vec2 e = vec2(1.2 * voxel, 0);
  return vec3(at(p + e.xyy) - at(p - e.xyy), at(p + e.yxy) - at(p - e.yxy), at(p + e.yyx) - at(p - e.yyx));
}

/* How much of the sky above the surface is free of density: crevices are darker. */
float openness(vec3 p, vec3 n) {
  vec3 side = normalize(abs(n.x) < 0.7 ? cross(n, vec3(1, 0, 0)) : cross(n, vec3(0, 1, 0)));
  vec3 other = cross(n, side);
  float steps[${light.openness_steps.length}] = float[](${light.openness_steps.map(number).join(", ")});
  float blocked = 0.0;
  for (int k = 0; k <= ${light.openness_directions}; k++) {
    float angle = float(k) * ${number(2 * Math.PI / light.openness_directions)};
    vec3 up = k == ${light.openness_directions} ? n : normalize(n + cos(angle) * side + sin(angle) * other);
    for (int step = 0; step < ${light.openness_steps.length}; step++)
      blocked += smoothstep(${number(light.openness_range[0])} * level, ${number(light.openness_range[1])} * level, at(p + up * steps[step]));
  }
  return 1.0 - blocked / ${number((light.openness_directions + 1) * light.openness_steps.length)};
}

void main() {
  vec3 ray = transpose(turn) * vec3(0, 0, 1);
  vec3 start = transpose(turn) * vec3(place, 0) + offset;
  vec3 low = vec3(-centre), high = vec3(1.0 - centre);
  vec3 a = (low - start) / ray, b = (high - start) / ray;
  vec3 into = min(a, b), out_of = max(a, b);
  float near = max(into.x, max(into.y, into.z)), far = min(out_of.x, min(out_of.y, out_of.z));
  if (near >= far) discard;
  float before = 0.0, depth = near;
  bool hit = false;
  for (int k = 0; k < 600; k++) {
    depth = near + float(k) * voxel;
    if (depth > far) break;
    float here = at(start + depth * ray);
    if (here > level) {
      if (k > 0) depth -= voxel * (here - level) / max(here - before, 1e-5);
      hit = true;
      break;
    }
    before = here;
  }
  if (!hit) discard;
  vec3 p = start + depth * ray;
  vec3 g = slope(p);
  vec3 inner = -normalize(g + 1e-9 * ray);
  vec3 n = turn * inner;
  vec3 light = normalize(${vector(light.light)});
  float key = max(dot(n, light), 0.0), facing = max(-n.z, 0.0);
  float shine = pow(max(dot(n, normalize(light + vec3(0, 0, -1))), 0.0), ${number(light.shininess)});
  float sky = mix(${number(light.sky_hidden)}, 1.0, openness(p, inner)) * (${number(light.sky_middle)} + (${number(light.sky_slope)}) * n.y);
  float cue = 1.0 - ${number(light.depth_cue)} * smoothstep(${light.depth_range.map(number).join(", ")}, depth);
  vec2 range = ${vector(light.tinted)};
  vec3 there = texture(variability, p + tintCentre).rgb, own = tinted > 1.0 ? there : colour;
  float tint = tinted == 1.0 ? clamp((there.r - range.x) / (range.y - range.x), 0.0, 1.0) : 0.0;
  float lit = key * mix(${number(light.key_in_crevices)}, 1.0, sky);
  float bright = (${number(light.ambient)} * sky + ${number(light.facing)} * facing + ${number(light.key)} * lit) * cue;
  vec3 shaded = mix(own, ${vector(light.orange)}, tint) * bright + ${number(light.shine)} * shine;
  pixel = vec4(pow(shaded, vec3(${number(light.power)})), 1);
}`;

/* Degrees about y, then about x. */
const VIEWS = {reset: [FACTS.shading.turn, FACTS.shading.nod], z: [0, 0], y: [0, -90], x: [90, 0]};
const COLOURS = {volume: FACTS.shading.surface, truth: FACTS.shading.truth};

/* Rotation matrices as rows of three. */
function multiply(a, b) {
  return a.map(row => [0, 1, 2].map(j => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
}
function aboutX(t) { const c = Math.cos(t), s = Math.sin(t); return [[1, 0, 0], [0, c, -s], [0, s, c]]; }
function aboutY(t) { const c = Math.cos(t), s = Math.sin(t); return [[c, 0, s], [0, 1, 0], [-s, 0, c]]; }
function aboutZ(t) { const c = Math.cos(t), s = Math.sin(t); return [[c, -s, 0], [s, c, 0], [0, 0, 1]]; }

/* Cubic B-spline weights of the four neighbours of a point a fraction f after the inner left one: smooth slopes, and so smooth shading. */
function spline(f) {
  return [(1 - f) ** 3 / 6, (3 * f ** 3 - 6 * f ** 2 + 4) / 6, (-3 * f ** 3 + 3 * f ** 2 + 3 * f + 1) / 6, f ** 3 / 6];
}

/* A density on a grid `factor` times as fine, smoothly interpolated; bytes in, 0 … 1 out. */
function refine(bytes, side, factor) {
  const fine = side * factor;
  const weights = Array.from({length: factor}, (_, k) => spline(k / factor));
  let values = Float32Array.from(bytes, value => value / 255);
  let length = side * side * side;
  /* One axis at a time: each pass refines the last axis and turns it to the front. */
  for (let pass = 0; pass < 3; pass++) {
    const lines = length / side;
    const next = new Float32Array(lines * fine);
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < side; i++) {
        const base = line * side;
        const a = values[base + Math.max(i - 1, 0)], b = values[base + i];
        const c = values[base + Math.min(i + 1, side - 1)], d = values[base + Math.min(i + 2, side - 1)];
        for (let k = 0; k < factor; k++) {
          const w = weights[k];
          next[(i * factor + k) * lines + line] = w[0] * a + w[1] * b + w[2] * c + w[3] * d;
        }
      }
    }
    values = next;
    length = lines * fine;
  }
  return {values, side: fine};
}

class SurfaceViewer {
  /* root: the element with the canvas and its controls. reach: half the width of the view, in box sides.
     Throws if there is no WebGL2. */
  constructor(root, unit, reach) {
    this.root = root;
    this.unit = unit;
    this.reach = reach;
    this.canvas = root.querySelector("canvas");
    this.slider = root.querySelector(".controls input");
    this.shown = [];
    this.textures = [];
    this.again = () => {};                /* shows the same once more, after the context was lost */
    this.zoom = 1;
    this.turn = this.view("reset");
    this.start();
    this.listen();
  }

  view(name) {
    const [y, x] = VIEWS[name].map(degrees => degrees * Math.PI / 180);
    return multiply(aboutX(x), aboutY(y));
  }

  start() {
    const gl = this.canvas.getContext("webgl2", {alpha: true, antialias: false, preserveDrawingBuffer: true});
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment(FACTS.shading)]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "no shader");
    gl.useProgram(program);
    this.at = name => gl.getUniformLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
  }

  /* densities: [{bytes, side, box, level, peak, kind, frame, offset}], one or two; box: the side in Å or pixels; frame and offset
     only where the density is to be shown in another frame than its own. variability: a density, of where the first one is orange, or
     which body is where. */
  show(densities, labels, variability = null) {
    this.again = () => this.show(densities, labels, variability);
    this.release();
    const tint = variability && this.upload(variability);
    this.shown = densities.map(density => ({...density, ...this.upload(density), tint}));
    this.root.classList.toggle("pair", densities.length === 2);
    this.root.querySelectorAll(".label").forEach((node, k) => { node.textContent = labels[k] || ""; });
    this.draw();
  }

  /* Volumes of a trajectory, on one scale; variability as above. place: from 0, the first, to 1, the last. */
  showFrames(frames, variability, place) {
    this.again = () => this.showFrames(frames, variability, this.place);
    this.release();
    const tint = this.upload(variability), ready = new Map();
    const texture = k => {
      if (!ready.has(k)) ready.set(k, this.upload(frames[k]));
      return ready.get(k);
    };
    this.moveTo = to => {
      const along = to * (frames.length - 1), k = Math.min(Math.floor(along), frames.length - 2);
      this.place = to;
      this.shown = [{...frames[k], ...texture(k), next: texture(k + 1).texture, blend: along - k, tint}];
      this.draw(true);
    };
    this.moveTo(place);
  }

  release() {
    for (const old of this.textures) this.gl.deleteTexture(old);
    this.textures = [];
  }

  upload(density) {
    if (density.kind === "bodies") return this.uploadBodies(density);
    const {values, side} = refine(density.bytes, density.side, density.side <= 24 ? 4 : density.side <= 40 ? 3 : 2);
    const factor = side / density.side, gl = this.gl;
    return {...this.texture(side, gl.R16F, gl.RED, gl.FLOAT, values), tinted: 1, centre: (Math.floor(density.side / 2) * factor + 0.5) / side};
  }

  /* The colour of the body of each place; between two bodies the colours blend. */
  uploadBodies({bytes, side}) {
    const colours = new Uint8Array(3 * bytes.length), palette = FACTS.bodies.map(colour => colour.map(part => 255 * part)), gl = this.gl;
    bytes.forEach((body, i) => colours.set(palette[body], 3 * i));
    return {...this.texture(side, gl.RGB8, gl.RGB, gl.UNSIGNED_BYTE, colours), tinted: 2, centre: (Math.floor(side / 2) + 0.5) / side};
  }

  texture(side, format, parts, type, values) {
    const gl = this.gl, texture = gl.createTexture();
    this.textures.push(texture);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, format, side, side, side, 0, parts, type, values);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, gl.LINEAR);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
    return {texture, fine: side};
  }

  get factor() { return 2 ** (this.slider.value / 50); }

  /* Draw coarsely while the view or the volume changes, and finely once it rests. */
  draw(moving = false) {
    this.moving = moving;
    clearTimeout(this.resting);
    if (moving) this.resting = setTimeout(() => this.draw(), 160);
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.paint(); });
  }

  paint() {
    const gl = this.gl, box = this.canvas.getBoundingClientRect();
    if (!this.shown.length || !box.width) return;
    const sharp = this.moving ? 1 : Math.max(2, window.devicePixelRatio || 1);
    const width = Math.round(box.width * sharp), height = Math.round(box.height * sharp);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, {width, height});
    gl.clearColor(0, 0, 0, 0);
    gl.disable(gl.SCISSOR_TEST);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    const stacked = this.shown.length === 2 && height > width;
    const w = this.shown.length === 2 && !stacked ? width / 2 : width, h = stacked ? height / 2 : height;
    const span = this.reach / this.zoom / Math.min(w, h);
    this.shown.forEach((density, k) => {
      const left = stacked ? 0 : Math.round(k * w), bottom = stacked ? Math.round((1 - k) * h) : 0;
      gl.viewport(left, bottom, w, h);
      gl.scissor(left, bottom, w, h);
      [density.texture, density.next || density.texture, density.tint?.texture || density.texture].forEach((texture, unit) => {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_3D, texture);
      });
      ["density", "next", "variability"].forEach((name, unit) => gl.uniform1i(this.at(name), unit));
      gl.uniform1f(this.at("blend"), density.blend || 0);
      gl.uniform1f(this.at("tinted"), density.tint?.tinted || 0);
      gl.uniform1f(this.at("tintCentre"), density.tint?.centre || 0);
      gl.uniform3fv(this.at("offset"), density.offset || [0, 0, 0]);
      gl.uniform2f(this.at("reach"), span * w, span * h);
      gl.uniformMatrix3fv(this.at("turn"), true, (density.frame ? multiply(this.turn, density.frame) : this.turn).flat());
      gl.uniform1f(this.at("level"), density.level / 255 * this.factor);
      gl.uniform1f(this.at("voxel"), 1 / density.fine);
      gl.uniform1f(this.at("centre"), density.centre);
      gl.uniform3fv(this.at("colour"), COLOURS[density.kind]);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    });
    this.point(span * w, span * h);
    this.describe(2 * span * sharp);
  }

  /* Arrows over the surface; half the width and height of the view are in box sides. */
  point(...reach) {
    for (const arrow of this.root.querySelectorAll("[data-ends]")) {
      const ends = arrow.dataset.ends.split(" ").map(Number);
      const [tail, tip, label] = [0, 3, 6].map(first => {
        const end = ends.slice(first, first + 3);
        return [0, 1].map(row => `${50 + 50 * this.turn[row].reduce((sum, part, k) => sum + part * end[k], 0) / reach[row]}%`);
      });
      const places = {x1: tail[0], y1: tail[1], x2: tip[0], y2: tip[1], x: label[0], y: label[1]};
      for (const part of arrow.children) {
        for (const name in places) if (part.hasAttribute(name)) part.setAttribute(name, places[name]);
      }
    }
  }

  /* The level in the file's units, and a scale bar of a round length; perPixel: box sides in a CSS pixel. */
  describe(perPixel) {
    const levels = this.shown.map(density => (density.level / 255 * this.factor * density.peak).toPrecision(3));
    this.root.querySelector("output").textContent = levels.join(" · ");
    const box = this.shown[0].box;
    const longest = 90 * perPixel * box, power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map(m => m * power).find(value => value <= longest);
    this.root.querySelector(".scale-bar i").style.width = `${length / box / perPixel}px`;
    this.root.querySelector(".scale-bar em").textContent = `${Number(length.toPrecision(1))} ${this.unit}`;
  }

  rotate(dx, dy, dz = 0) {
    this.turn = multiply(multiply(aboutZ(dz), multiply(aboutX(dy), aboutY(dx))), this.turn);
    this.draw(true);
  }

  enlarge(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), 8);
    this.draw(true);
  }

  setView(name) {
    this.turn = this.view(name);
    if (name === "reset") { this.zoom = 1; this.slider.value = 0; }
    this.draw();
  }

  listen() {
    const canvas = this.canvas, fingers = new Map();
    canvas.addEventListener("pointerdown", event => {
      fingers.set(event.pointerId, event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY;
      if (fingers.size === 1) this.rotate(-dx * 0.01, dy * 0.01);
      else {
        const other = [...fingers.values()].find(finger => finger.pointerId !== event.pointerId);
        const distance = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
        const angle = finger => Math.atan2(finger.clientY - other.clientY, finger.clientX - other.clientX);
        this.enlarge(distance(event) / distance(last));
        this.rotate(0, 0, angle(event) - angle(last));
      }
      fingers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => fingers.delete(event.pointerId));
    canvas.addEventListener("dblclick", () => this.setView("reset"));
    canvas.addEventListener("wheel", event => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.enlarge(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, {passive: false});
    canvas.addEventListener("keydown", event => {
      const turns = {ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1]};
      if (turns[event.key]) this.rotate(...turns[event.key]);
      else if (event.key === "+" || event.key === "=") this.enlarge(1.15);
      else if (event.key === "-") this.enlarge(1 / 1.15);
      else if (event.key === "Home") this.setView("reset");
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.slider.addEventListener("input", () => this.draw(true));
    this.root.querySelectorAll("[data-view]").forEach(node => node.addEventListener("click", () => this.setView(node.dataset.view)));
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("webglcontextlost", event => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.textures = [];
      this.start();
      this.again();
    });
  }
}
