(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var at = document.getElementById("at"), said = document.getElementById("said");
  var cursor = document.getElementById("cursor"), count = data.line.length;
  var marked = [];

  function mark(selector, view) {
    var found = document.querySelector(selector);
    if (!found) return;
    found.classList.add("now");
    marked.push(found);
    if (!view) return;
    var box = document.querySelector(view), inside = box.getBoundingClientRect();
    var middle = found.getBoundingClientRect().top - inside.top - box.clientHeight / 2;
    box.scrollTop += middle;
  }
  function go(i) {
    i = Math.max(0, Math.min(count - 1, i));
    at.value = i;
    marked.forEach(function (one) { one.classList.remove("now"); });
    marked = [];
    mark('rect[data-name="step ' + data.box[i] + '"]', ".picture");
    mark('rect[data-at="' + i + '"]');
    mark('[data-line="' + data.line[i] + '"]', ".text");
    var x = data.left + data.start[i] * data.scale;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    said.textContent = (i + 1) + " of " + count + ": " + data.said[i] + ", line " + data.line[i] +
      ", " + data.start[i].toFixed(2) + " us (model)";
  }
  at.oninput = function () { go(Number(at.value)); };
  document.getElementById("back").onclick = function () { go(Number(at.value) - 1); };
  document.getElementById("on").onclick = function () { go(Number(at.value) + 1); };
  document.addEventListener("keydown", function (event) {
    if (event.target === at) return;
    var by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { go(Number(at.value) + by); event.preventDefault(); }
  });
  document.addEventListener("click", function (event) {
    var name = event.target.getAttribute && event.target.getAttribute("data-name");
    var bar = event.target.getAttribute && event.target.getAttribute("data-at");
    var line = event.target.closest && event.target.closest("[data-line]");
    if (bar) go(Number(bar));
    else if (name) go(data.box.indexOf(Number(name.replace("step ", ""))));
    else if (line && data.line.indexOf(Number(line.dataset.line)) >= 0) {
      go(data.line.indexOf(Number(line.dataset.line)));
    }
  });
  go(0);
})();
