// Values under the pointer: a line through all panels of a figure, and the nearest point before it of every series.
"use strict";
const pad = (n, w) => String(n).padStart(w, "0");
const clock = (ns) => {
  const t = new Date(ns / 1e6);
  return `${t.getUTCFullYear()}-${pad(t.getUTCMonth() + 1, 2)}-${pad(t.getUTCDate(), 2)} ${pad(t.getUTCHours(), 2)}:${pad(t.getUTCMinutes(), 2)}:${pad(t.getUTCSeconds(), 2)}`;
};
for (const figure of document.querySelectorAll("figure.plot[data-time]")) {
  const tip = figure.appendChild(document.createElement("div"));
  tip.className = "tip";
  const panels = [...figure.querySelectorAll(".field")].map((field) => {
    const rule = field.appendChild(document.createElement("div"));
    rule.className = "rule";
    const svg = field.querySelector("svg");
    const [x0, x1] = svg.dataset.x.split(" ").map(Number);
    const [y0, y1] = svg.dataset.y.split(" ").map(Number);
    const lines = [...svg.querySelectorAll("path.line")].map((path) => {
      const n = path.getAttribute("d").slice(1).split(/[L ]/).map(Number);
      return { name: path.dataset.name, n };
    });
    return { field, rule, x0, x1, y0, y1, lines };
  });
  const hide = () => {
    tip.style.display = "none";
    for (const panel of panels) panel.rule.style.display = "none";
  };
  figure.addEventListener("pointerleave", hide);
  figure.addEventListener("pointermove", (event) => {
    const box = panels[0].field.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (share < 0 || share > 1) return hide();
    const rows = [];
    for (const { rule, y0, y1, lines } of panels) {
      rule.style.display = "block";
      rule.style.left = `${share * 100}%`;
      for (const { name, n } of lines) {
        let low = 0, high = n.length / 2;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (n[2 * middle] <= share * 1000) low = middle + 1; else high = middle;
        }
        if (low === 0) continue;
        const value = y0 + (1 - n[2 * low - 1] / 1000) * (y1 - y0);
        const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.max(1e-9, (y1 - y0)))));
        rows.push([name, value.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 6) })]);
      }
    }
    const { x0, x1 } = panels[0];
    tip.replaceChildren(clock(x0 + share * (x1 - x0)));
    for (const [name, value] of rows) {
      const row = tip.appendChild(document.createElement("div"));
      row.appendChild(document.createElement("em")).textContent = `${name} `;
      row.append(value);
    }
    tip.style.display = "block";
    const whole = figure.getBoundingClientRect();
    const left = event.clientX - whole.left + 14;
    tip.style.left = `${left + tip.offsetWidth > whole.width ? left - tip.offsetWidth - 28 : left}px`;
    tip.style.top = `${event.clientY - whole.top + 12}px`;
  });
}
