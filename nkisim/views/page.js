(function (name, data) {
  "use strict";
  // data: records[i] is the number of the instruction of step i, kinds[steps[i]] says what it is; gaps[i] stands before step i;
  // sbuf and psum: bytes used and holders at each step; tiles, written, read: contents, if they were kept; times: a model's;
  // loads: the activation tables that steps load before they start; drawing: its size, boxes, and the box of each step.
  var LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+";
  var COLORS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116],
    [195, 179, 105], [225, 204, 85], [254, 232, 56]]; // cividis
  Array.prototype.forEach.call(document.querySelectorAll('[data-run="' + name + '"]'), start);

  function make(tag, kind, text) {
    var e = document.createElement(tag);
    if (kind) e.className = kind;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function start(root) {
    if (root.dataset.ready || !data.steps.length) return;
    root.dataset.ready = "1";
    var last = data.steps.length - 1, now = 0;
    var picture = root.querySelector("img"), stage = make("div", "stage"), cursor = make("div", "cursor");
    var scroll = make("div", "scroll");
    picture.parentNode.insertBefore(scroll, picture);
    scroll.appendChild(stage);
    stage.appendChild(picture);
    stage.appendChild(cursor);
    cursor.style.top = 100 * 20 / data.plot[3] + "%"; // beside the rows of the picture, above its axis
    cursor.style.bottom = 100 * 40 / data.plot[3] + "%";
    picture.style.cursor = "pointer";
    picture.addEventListener("click", function (event) {
      var box = picture.getBoundingClientRect(), scale = box.width / data.plot[2];
      var at = (event.clientX - box.left - data.plot[0] * scale) / (data.plot[1] * scale), best = 0;
      for (var i = 1; i <= last; i++) if (Math.abs(data.at[i] - at) < Math.abs(data.at[best] - at)) best = i;
      go(best);
    });

    var app = make("div"), bar = make("div", "bar"), range = make("input"), where = make("span", "where");
    range.type = "range";
    range.min = 0;
    range.max = last;
    range.setAttribute("aria-label", "step");
    range.addEventListener("input", function () { go(Number(range.value)); });
    function button(text, label, target) {
      var b = make("button", "", text);
      b.type = "button";
      b.title = label;
      b.setAttribute("aria-label", label);
      b.addEventListener("click", function () { go(target()); });
      bar.appendChild(b);
    }
    button("\u21e4", "first instruction (Home)", function () { return 0; });
    button("\u2190", "previous instruction (left arrow)", function () { return now - 1; });
    bar.appendChild(range);
    button("\u2192", "next instruction (right arrow)", function () { return now + 1; });
    button("\u21e5", "last instruction (End)", function () { return last; });
    bar.appendChild(where);
    app.appendChild(bar);
    var near = make("div", "near");
    app.appendChild(near);
    var gap = make("p", "gap"), grid = make("div", "grid"), left = make("div"), right = make("div"), tiles = make("div", data.tiles ? "tiles full" : "tiles");
    var file = make("h3"), source = make("div", "source mono"), what = make("p", "what"), note = make("p", "note soft");
    what.setAttribute("aria-live", "polite");
    source.tabIndex = 0; // it scrolls
    source.setAttribute("role", "region");
    source.setAttribute("aria-label", "the kernel's text");
    if (Object.keys(data.gaps).length) app.appendChild(gap);
    left.appendChild(file);
    left.appendChild(source);
    right.appendChild(what);
    if (data.times) right.appendChild(note);
    var gauges = ["sbuf", "psum"].map(function (space) {
      var box = make("div", "memory"), line = make("div"), gauge = make("div", "gauge"), fill = make("div"), held = make("p", "held");
      gauge.appendChild(fill);
      [line, gauge, held].forEach(function (e) { box.appendChild(e); });
      right.appendChild(box);
      return { space: space, line: line, fill: fill, held: held };
    });
    grid.appendChild(left);
    grid.appendChild(right);
    var sheet = null, mark = null;
    if (data.drawing) app.appendChild(beside(grid));
    else app.appendChild(grid);
    app.appendChild(tiles);
    app.appendChild(make("p", "legend soft", "Keys: left and right arrow step, Home and End go to the first and last instruction." +
      (data.tiles ? " Contents: dark is the smallest value, yellow the largest, red not finite; of a large tile each cell is the " +
      "mean of the elements that it covers, of a tensor in HBM the part is shown that the instruction touches." : "")));
    scroll.parentNode.insertBefore(app, scroll.nextSibling);

    var keys = { ArrowLeft: function () { return now - 1; }, ArrowRight: function () { return now + 1; },
      Home: function () { return 0; }, End: function () { return last; } };
    function pressed(event) {
      if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.target === range || event.target === source || event.target === sheet || /^(PRE|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
      go(keys[event.key]());
      event.preventDefault();
      event.stopPropagation();
    }
    root.tabIndex = 0;
    (root.dataset.page ? document : root).addEventListener("keydown", pressed);
    go(0);
    var drawn = near.clientWidth;
    window.addEventListener("resize", function () {
      if (near.clientWidth !== drawn) strip();
    });

    // The drawing beside the text: a sheet that scrolls, with a frame around the box of the instruction.
    function beside(grid) {
      var both = make("div", "both"), board = make("div", "board"), folded = root.querySelector(".drawn");
      sheet = make("div", "sheet");
      mark = make("div", "mark");
      sheet.tabIndex = 0; // it scrolls
      sheet.setAttribute("role", "region");
      sheet.setAttribute("aria-label", "the kernel as a picture");
      board.appendChild(folded.querySelector("img"));
      board.appendChild(mark);
      board.addEventListener("click", function (event) {
        var area = board.getBoundingClientRect(), d = data.drawing, best = -1, least = Infinity;
        var y = (event.clientY - area.top) * d.size[1] / area.height;
        d.boxes.forEach(function (b, k) {
          var far = Math.abs(b[1] + b[3] / 2 - y);
          if (far < least) { least = far; best = k; }
        });
        var next = d.box.indexOf(best, now + 1);
        if (best >= 0 && least < 40) go(next >= 0 ? next : d.box.indexOf(best));
      });
      folded.parentNode.removeChild(folded);
      sheet.appendChild(board);
      both.appendChild(grid);
      both.appendChild(sheet);
      return both;
    }

    function markBox() {
      var d = data.drawing, b = d.boxes[d.box[now]];
      mark.style.display = b ? "block" : "none";
      if (!b) return;
      ["left", "top", "width", "height"].forEach(function (side, k) { mark.style[side] = 100 * b[k] / d.size[k % 2] + "%"; });
      var at = mark.offsetTop, high = sheet.clientHeight;
      if (at < sheet.scrollTop + 24 || at + mark.offsetHeight > sheet.scrollTop + high - 24) sheet.scrollTop = at - high / 2;
    }

    function strip() {
      drawn = near.clientWidth;
      near.textContent = "";
      near.appendChild(nearby(now, Math.max(320, Math.min(data.plot[2], drawn || data.plot[2])), go));
    }

    function go(step) {
      now = Math.max(0, Math.min(last, step));
      var kind = data.kinds[data.steps[now]], number = data.records[now];
      range.value = now;
      range.setAttribute("aria-valuetext", "instruction " + number + ": " + kind.engine + " " + kind.op);
      where.textContent = "step " + count(now + 1) + " of " + count(last + 1) + ", instruction " + count(number);
      cursor.style.left = 100 * (data.plot[0] + data.plot[1] * data.at[now]) / data.plot[2] + "%";
      gap.textContent = (data.gaps[now] || []).map(function (g) { return "Before this one, " + g + "."; }).join(" ");
      what.textContent = "";
      var chip = make("span", "chip", kind.engine);
      chip.style.borderLeftColor = "var(--" + kind.engine + ",var(--other))";
      what.appendChild(chip);
      what.appendChild(make("span", "mono", kind.op + (kind.attrs ? " (" + kind.attrs + ")" : "")));
      note.textContent = data.times ? "Model: " + data.timeWords[data.times[now]] + "." +
        (data.critical[now] ? " On the critical path." : "") : "";
      showSource(kind);
      gauges.forEach(function (g) {
        var used = data[g.space].used[now], capacity = data.capacity[g.space];
        g.line.textContent = g.space.toUpperCase() + " " + size(used) + " of " + size(capacity) + " " + data.unit;
        g.fill.style.width = 100 * Math.min(1, used / capacity) + "%";
        g.fill.style.minWidth = used ? "1px" : 0;
        g.held.textContent = data.holders[data[g.space].held[now]].map(function (h) { return h[0] + ": " + h[1]; }).join("; ");
      });
      showTiles(kind);
      if (mark) markBox();
      strip();
      if (scroll.scrollWidth > scroll.clientWidth)
        scroll.scrollLeft = cursor.offsetLeft - scroll.clientWidth / 2;
    }

    function showSource(kind) {
      var f = data.files[kind.file], indent = 99, from = kind.line - 5, to = kind.line + 5, n;
      for (n = from; n <= to; n++) if ((lineOf(f, n) || "").trim()) indent = Math.min(indent, lineOf(f, n).search(/\S/));
      file.textContent = f.name + ", line " + kind.line;
      source.textContent = "";
      for (n = from; n <= to; n++) {
        var text = lineOf(f, n), row = make("div", n === kind.line ? "now" : "");
        row.appendChild(make("i", "", text === null ? "" : n));
        row.appendChild(document.createTextNode(text === null ? "" : text.slice(indent)));
        if (n === kind.line) row.setAttribute("aria-current", "true");
        source.appendChild(row);
      }
    }

    function showTiles(kind) {
      tiles.textContent = "";
      add("writes", kind.dst, data.parts[now][0], data.written && data.written[now]);
      add("reads", kind.srcs, data.parts[now][1], data.read && data.read[now]);
    }

    function add(role, operands, parts, contents) {
      operands.forEach(function (o, i) {
        var box = make("div", "tile");
        box.appendChild(make("span", "soft", role + " "));
        box.appendChild(make("b", "mono", o[0]));
        var part = data.partWords[parts[i]];
        box.appendChild(make("div", "soft", o[1].toUpperCase() + ", " + o[2] + (part ? ", " + part : "") + ", " + o[3]));
        var tile = contents && contents[i] >= 0 ? data.tiles[contents[i]] : null;
        if (tile) {
          if (tile[0] * tile[1] > 1) box.appendChild(heat(tile));
          box.appendChild(make("div", "", tile[3]));
        }
        tiles.appendChild(box);
      });
    }
  }

  // The lanes around one step: over the model's time if there is one, else over instruction numbers.
  function nearby(now, wide, go) {
    var timed = !!data.spans, row = 16, left = data.plot[0], plot = wide - (data.plot[2] - data.plot[1]);
    // a band of several queues is taller, up to three rows
    var tops = [], tall = data.rows.map(function (n) { return n > 1 ? Math.min(Math.max(13, 4 * n), 45) : 13; });
    var height = 18 + tall.reduce(function (sum, h, k) { tops[k] = sum; return sum + h + row - 13; }, 0);
    function span(i) { return timed ? data.spans[i] : [data.records[i], data.records[i] + 1]; }
    var mine = span(now), width = Math.min(Math.max(data.window, 1.5 * (mine[1] - mine[0])), data.length);
    var from = Math.max(0, Math.min((mine[0] + mine[1] - width) / 2, data.length - width));
    var picture = draw("svg", { viewBox: "0 0 " + wide + " " + height, "aria-hidden": "true" });
    data.lanes.forEach(function (lane, k) {
      picture.appendChild(draw("rect", { x: left, y: tops[k], width: plot, height: tall[k], fill: "var(--raised)" }));
      picture.appendChild(draw("text", { x: left - 8, y: tops[k] + tall[k] / 2 + 4.5, "text-anchor": "end" }, lane));
    });
    var order = data.steps.map(function (_, i) { return i; });
    order.splice(now, 1);
    order.concat(now).forEach(function (i) { // the current one last, over its neighbours
      var s = span(i), a = Math.max(s[0], from), b = Math.min(s[1], from + width), kind = data.kinds[data.steps[i]];
      if (i !== now && (b < a || s[1] < from || s[0] > from + width)) return;
      var lane = data.lane[i], part = tall[lane] / data.rows[lane];
      var bar = draw("rect", { x: left + plot * (a - from) / width, y: tops[lane] + data.slot[i] * part, height: part > 3 ? part - 0.5 : part,
        width: Math.max(1.5, plot * (b - a) / width - 1), fill: "var(--" + kind.engine + ",var(--other))",
        "fill-opacity": i === now ? 1 : 0.5 });
      if (i === now) { bar.setAttribute("stroke", "var(--limit)"); bar.setAttribute("stroke-width", "2"); }
      bar.appendChild(draw("title", {}, data.records[i] + ": " + kind.op + ", line " + kind.line));
      bar.style.cursor = "pointer";
      bar.addEventListener("click", go.bind(null, i));
      picture.appendChild(bar);
    });
    Object.keys(data.loads || {}).forEach(function (i) {
      var load = data.loads[i], a = Math.max(load[0], from), b = Math.min(load[1], from + width), step = Number(i);
      if (b <= a) return;
      var long = plot * (b - a) / width, bar = draw("rect", { x: left + plot * (a - from) / width, y: tops[data.lane[step]] + 0.5,
        width: Math.max(1.5, long - 1), height: row - 4, fill: "var(--card)", stroke: "var(--scalar)", "stroke-dasharray": "3 2" });
      bar.appendChild(draw("title", {}, data.loadName + " for " + data.records[step]));
      bar.style.cursor = "pointer";
      bar.addEventListener("click", go.bind(null, step));
      picture.appendChild(bar);
      if (long > 70) picture.appendChild(draw("text", { x: left + plot * ((a + b) / 2 - from) / width, y: tops[data.lane[step]] + 10.5,
        "text-anchor": "middle", "class": "faint", "pointer-events": "none" }, long > 130 ? data.loadName : "table load"));
    });
    (plot < 300 ? [0, 1] : [0, 0.5, 1]).forEach(function (f) {
      var at = from + f * width, label = timed ? (at / 1000).toFixed(2) + " us (model)" : count(Math.floor(at));
      picture.appendChild(draw("text", { x: left + plot * f, y: height - 3, class: "faint",
        "text-anchor": ["start", "middle", "end"][2 * f] }, f || timed ? label : "instruction " + count(Math.floor(Math.max(at, 0)))));
    });
    return picture;
  }

  function draw(tag, attributes, text) {
    var sample = document.createElement("div");
    sample.innerHTML = "<svg></svg>"; // the browser knows SVG's namespace
    var e = document.createElementNS(sample.firstChild.namespaceURI, tag);
    Object.keys(attributes).forEach(function (name) { e.setAttribute(name, attributes[name]); });
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function lineOf(file, n) {
    for (var i = 0; i < file.pieces.length; i++) {
      var at = n - file.pieces[i][0];
      if (at >= 0 && at < file.pieces[i][1].length) return file.pieces[i][1][at];
    }
    return null;
  }

  function heat(tile) {
    var canvas = make("canvas"), width = Math.min(208, tile[1] * 13), height = Math.min(96, Math.max(12, tile[0] * 12));
    canvas.width = tile[1];
    canvas.height = tile[0];
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", tile[3]);
    var context = canvas.getContext("2d"), pixels = context.createImageData(tile[1], tile[0]);
    for (var i = 0; i < tile[2].length; i++) {
      var level = LEVELS.indexOf(tile[2][i]), c = [214, 39, 40];
      if (level >= 0) {
        var at = level / (LEVELS.length - 1) * (COLORS.length - 1), k = Math.min(COLORS.length - 2, Math.floor(at));
        c = [0, 1, 2].map(function (j) { return COLORS[k][j] + (at - k) * (COLORS[k + 1][j] - COLORS[k][j]); });
      }
      pixels.data.set([c[0], c[1], c[2], 255], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  function count(n) { return n.toLocaleString("en"); }

  function size(bytes) {
    var units = ["B", "KiB", "MiB"], u = 0;
    while (bytes >= 1024 && u < 2) { bytes /= 1024; u++; }
    return (bytes >= 100 || bytes === Math.floor(bytes) ? bytes.toFixed(0) : String(Number(bytes.toPrecision(3)))) + " " + units[u];
  }
})
