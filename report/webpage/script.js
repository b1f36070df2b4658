"use strict";
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("details.req")];
  const proposals = [...document.querySelectorAll("section.proposal")];
  const home = rows.map((row) => row.parentNode);
  const fields = ["q", "verdict", "level", "area", "group"];
  const count = form.querySelector("output");
  let grouped = "";

  // Requirements stand under their area, or, when asked, under the section of the text.
  const regroup = (how) => {
    if (how === grouped) return;
    grouped = how;
    document.querySelectorAll("section.section").forEach((made) => made.remove());
    rows.forEach((row, i) => {
      if (how !== "section") {
        home[i].append(row);
        return;
      }
      const proposal = home[i].parentNode;
      let section = [...proposal.children].find((child) => child.dataset.where === row.dataset.where);
      if (!section) {
        section = document.createElement("section");
        section.className = "section";
        section.dataset.where = row.dataset.where;
        const title = document.createElement("h4");
        title.textContent = row.dataset.where;
        section.append(title);
        proposal.append(section);
      }
      section.append(row);
    });
  };

  const apply = () => {
    const want = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
    const words = want.q.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const is = row.dataset;
      const fits = (!want.verdict || is.verdict === want.verdict || (want.verdict === "not-pass" && is.verdict !== "PASS")) &&
        (!want.level || is.level === want.level) && (!want.area || is.area === want.area) &&
        words.every((word) => is.words.includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    regroup(want.group);
    for (const group of [...document.querySelectorAll("section.area, section.section"), ...proposals]) {
      group.hidden = !group.querySelector("details.req:not([hidden])");
    }
    count.textContent = shown === rows.length ? `${rows.length} requirements` : `${shown} of ${rows.length} requirements`;
  };

  // A filter is part of the address, so that it can be passed on: #verdict=FAIL&level=MUST.
  const toAddress = () => {
    const chosen = new URLSearchParams();
    for (const name of fields) {
      if (form.elements[name].value) chosen.set(name, form.elements[name].value);
    }
    history.replaceState(null, "", "#" + (chosen.toString() || "requirements"));
  };

  const fromAddress = () => {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) {
      const target = document.getElementById(hash);
      if (target && target.matches("details")) {
        if (target.hidden) {
          form.reset();
          apply();
        }
        target.open = true;
        target.scrollIntoView();
      }
      return;
    }
    const chosen = new URLSearchParams(hash);
    for (const name of fields) {
      form.elements[name].value = chosen.get(name) || "";
      if (form.elements[name].selectedIndex === -1) form.elements[name].value = "";
    }
    apply();
    document.getElementById("requirements").scrollIntoView();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { apply(); toAddress(); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); toAddress(); }));
  addEventListener("hashchange", fromAddress);
  apply();
  fromAddress();
})();
