(function () {
  var root = document.getElementById("ID");
  if (!root || root.dataset.ready) return;
  var steps = Array.prototype.slice.call(root.querySelectorAll("details"));
  if (steps.length < 2) return;
  root.dataset.ready = "1";
  var bar = document.createElement("div");
  var range = document.createElement("input");
  var said = document.createElement("output");
  var shown = 0;
  function button(text, label, by) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.onclick = function () { go(Number(range.value) + by); };
    return made;
  }
  function go(i) {
    i = Math.max(0, Math.min(steps.length - 1, i));
    range.value = i;
    steps.forEach(function (step, j) {
      step.open = j === i;
      step.style.display = j === i ? "block" : "none";
    });
    // another fragment is another picture, so that what moves in it starts again
    var picture = steps[i].querySelector("img");
    if (picture) picture.src = picture.src.split("#")[0] + "#" + ++shown;
    said.textContent = " " + (i + 1) + " of " + steps.length;
  }
  range.type = "range";
  range.min = 0;
  range.max = steps.length - 1;
  range.value = 0;
  range.style.width = "55%";
  range.setAttribute("aria-label", "tile");
  said.setAttribute("aria-live", "polite");
  range.oninput = function () { go(Number(range.value)); };
  root.addEventListener("keydown", function (event) {
    var to = { ArrowRight: Number(range.value) + 1, ArrowLeft: Number(range.value) - 1,
               Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    go(to);
  });
  root.addEventListener("click", function (event) {
    if (event.target.tagName === "IMG") range.focus({ preventScroll: true });
  });
  [button("\u25c0", "previous tile", -1), range, button("\u25b6", "next tile", 1)]
    .forEach(function (control) {
      // JupyterLab would take the arrow keys and go to another cell: it asks what has the focus
      control.setAttribute("data-lm-suppress-shortcuts", "true");
      bar.appendChild(control);
    });
  bar.appendChild(said);
  root.insertBefore(bar, steps[0]);
  go(0);
})();
