// Copy buttons, the moving trace's "play again", and what this browser has solved. No library, no request.
"use strict";

function addCopyButtons() {
  if (!navigator.clipboard) return;
  for (const block of document.querySelectorAll(".cell_input .highlight, div[class*=highlight-] > .highlight")) {
    const text = block.querySelector("pre");
    if (!text || block.closest(".cell_output") || block.querySelector("button.copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy this code");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent.replace(/^\$ /gm, "").trimEnd());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.append(button);
  }
}

function letWideBlocksTakeTheKeyboard() {
  for (const block of document.querySelectorAll("pre, .table-wrapper, .math-wrapper, .cell_output")) {
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
    else block.removeAttribute("tabindex");
  }
}

// The theme has two landmarks of one kind, which a screen reader cannot tell apart by name.
function nameTheSideBars() {
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "All pages");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
}

function playAgain() {
  const button = document.getElementById("again");
  const trace = document.getElementById("trace");
  if (!button || !trace) return;
  button.addEventListener("click", () => {
    for (const row of trace.querySelectorAll(".row")) {
      row.style.animation = "none";
      void row.offsetWidth; // so that the animation starts anew
      row.style.animation = "";
    }
  });
}

// The browser edition keeps its files, and among them progress.txt, in an IndexedDB of this origin.
async function showWhatIsSolved() {
  const marks = document.querySelectorAll(".solved[data-stage]");
  if (!marks.length || !indexedDB.databases) return;
  for (const { name } of await indexedDB.databases()) {
    if (!name || !name.startsWith("JupyterLite Storage")) continue;
    const stages = await stagesOf(name);
    for (const mark of marks) {
      if (stages[mark.dataset.stage]) mark.hidden = false;
    }
  }
}

function stagesOf(name) {
  return new Promise(resolve => {
    const opening = indexedDB.open(name);
    opening.onerror = () => resolve({});
    opening.onsuccess = () => {
      const database = opening.result;
      if (!database.objectStoreNames.contains("files")) { database.close(); return resolve({}); }
      const asking = database.transaction("files").objectStore("files").get("progress.txt");
      asking.onerror = () => { database.close(); resolve({}); };
      asking.onsuccess = () => {
        database.close();
        const stages = {};
        for (const line of String(asking.result?.content ?? "").split("\n")) {
          const [stage, outcome] = line.split(" ");
          if (outcome === "correct") stages[stage] = true;
        }
        resolve(stages);
      };
    };
  });
}

addCopyButtons();
addEventListener("resize", letWideBlocksTakeTheKeyboard);
letWideBlocksTakeTheKeyboard();
nameTheSideBars();
playAgain();
showWhatIsSolved().catch(() => {});
