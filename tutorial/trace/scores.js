(function (id, scores) {
  var root = document.getElementById(id);
  if (!root || root.dataset.ready) return;
  root.dataset.ready = "1";
  var SVG = "http://www.w3.org/2000/svg", TILES = 4, EACH = 4;
  var still = root.querySelector("img"), words = root.querySelector("pre");
  var fields = document.createElement("div"), call = document.createElement("code");
  var drawing = document.createElementNS(SVG, "svg");
  var tone = { score: "#6a7380", top: "#a8459a", m: "#2266cc", kept: "#b35900", added: "#007f5f" };

  function add(kind, attributes, text) {
    var made = document.createElementNS(SVG, kind);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) made.textContent = text;
    drawing.appendChild(made);
    return made;
  }
  function states() {
    var m = -Infinity, l = 0, made = [];
    for (var t = 0; t < TILES; t++) {
      var own = scores.slice(EACH * t, EACH * (t + 1));
      var m_new = Math.max.apply(null, own.concat([m]));
      var alpha = Math.exp(m - m_new), before = l;
      var sum = own.reduce(function (a, s) { return a + Math.exp(s - m_new); }, 0);
      l = l * alpha + sum;
      made.push({ own: own, m_old: m, m: m_new, alpha: alpha, before: before, l: l });
      m = m_new;
    }
    return made;
  }
  function draw() {
    var all = states();
    var low = Math.min.apply(null, scores), high = Math.max.apply(null, scores);
    var most = Math.max.apply(null, all.map(function (s) { return Math.max(s.l, s.before); }));
    function tall(score) { return 6 + 84 * (score - low) / ((high - low) || 1); }
    drawing.textContent = "";
    all.forEach(function (s, t) {
      var x = 8 + 118 * t, floor = 120, top = Math.max.apply(null, s.own);
      add("text", { x: x, y: 16 }, "tile " + t);
      if (t && s.alpha < 1) {
        add("text", { x: x + 104, y: 16, "text-anchor": "end" }, "x " + s.alpha.toFixed(2));
      }
      s.own.forEach(function (score, i) {
        add("rect", { x: x + 26 * i, y: floor - tall(score), width: 24, height: tall(score),
                      rx: 3, fill: score === top ? tone.top : tone.score });
      });
      add("rect", { x: x, y: floor - tall(s.m) - 1, width: 104, height: 2.5, fill: tone.m });
      var unit = 104 / most, kept = s.alpha * s.before * unit;
      var was = add("rect", { x: x, y: 130, width: s.before * unit, height: 12, fill: tone.kept });
      if (was.animate && t && s.alpha < 1 &&
          !window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
        was.animate([{ width: s.before * unit + "px" }, { width: kept + "px" }], 900);
      }
      was.setAttribute("width", kept);
      add("rect", { x: x + kept, y: 130, width: s.l * unit - kept, height: 12, fill: tone.added });
      add("text", { x: x, y: 160 }, "m " + String(+s.m.toFixed(2)));
      add("text", { x: x, y: 178 }, "l " + s.l.toFixed(4));
    });
    call.textContent = "trace(3, decode_attention_fwd, scores=[" + scores.join(", ") + "])";
  }

  drawing.setAttribute("viewBox", "0 0 480 186");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", "the scores, m as a line, l as a bar, tile by tile");
  drawing.style.cssText = "width:100%;max-width:480px;font:13px monospace;fill:currentColor";
  fields.style.cssText = "display:flex;flex-wrap:wrap;max-width:480px";
  for (var t = 0; t < TILES; t++) {
    fields.appendChild(document.createElement("div")).style.cssText = "width:24.5%";
  }
  scores.forEach(function (score, i) {
    var field = document.createElement("input");
    field.type = "number";
    field.step = "0.5";
    field.value = score;
    field.style.cssText = "width:46%;min-width:0;padding:1px;box-sizing:border-box;font:inherit";
    // JupyterLab would take the arrow keys: it asks what has the focus
    field.setAttribute("data-lm-suppress-shortcuts", "true");
    field.setAttribute("aria-label", "score " + i + ", tile " + Math.floor(i / EACH));
    field.oninput = function () {
      var typed = parseFloat(field.value);
      if (!isFinite(typed)) return;
      scores[i] = typed;
      draw();
    };
    fields.children[Math.floor(i / EACH)].appendChild(field);
  });
  still.style.display = words.style.display = "none";
  root.appendChild(fields);
  root.appendChild(drawing);
  root.appendChild(document.createElement("div")).appendChild(call);
  draw();
})
