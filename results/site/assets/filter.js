// Filters of the overview. Without this script the tables show everything.
// What is chosen is part of the address (#model=gemma-2b&tier=high), so that it can be shared.
(() => {
    const form = document.getElementById("tl-filter");
    if (!form) return;

    const names = ["device", "model", "runtime", "tier", "verdict", "section"];
    const sections = [...document.querySelectorAll(".tl-section")];
    const output = form.querySelector("output");

    const chosen = () => Object.fromEntries(names.map((name) => [name, form.elements[name].value]));

    function apply() {
        const want = chosen();
        const device = want.device.trim().toLowerCase();
        let shown = 0;
        for (const section of sections) {
            const listed = !want.section || section.dataset.section === want.section;
            const models = new Set();
            let lines = 0;
            for (const line of section.querySelectorAll("tbody tr")) {
                let cells = 0;
                for (const box of line.querySelectorAll("td")) {
                    const model = box.dataset.model;
                    let here = 0;
                    for (const cell of box.querySelectorAll("li")) {
                        const { runtime, tier, verdict } = cell.dataset;
                        const fits =
                            (!want.model || model === want.model) &&
                            (!want.runtime || runtime === want.runtime) &&
                            (!want.tier || tier === want.tier) &&
                            (!want.verdict || verdict === want.verdict);
                        cell.hidden = !fits;
                        here += fits;
                    }
                    if (here && line.dataset.device.includes(device)) models.add(model);
                    cells += here;
                }
                const fits = cells > 0 && line.dataset.device.includes(device);
                line.hidden = !fits;
                lines += fits;
                if (fits && listed) shown += cells;
            }
            // A column in which nothing is left takes room that the others can use.
            for (const box of section.querySelectorAll("[data-model]")) {
                box.hidden = lines > 0 && !models.has(box.dataset.model);
            }
            section.hidden = !listed || lines === 0;
            const heading = section.closest(".tl")?.previousElementSibling;
            if (heading?.matches("h2")) heading.hidden = section.hidden;
        }
        const all = form.dataset.cells;
        output.value = `${shown} of ${all} cells`;
    }

    function remember() {
        const kept = Object.entries(chosen()).filter(([, value]) => value);
        const hash = new URLSearchParams(kept).toString();
        history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search);
    }

    function recall() {
        const given = new URLSearchParams(location.hash.slice(1));
        // Anything else behind the # is a place on the page.
        if (location.hash && !names.some((name) => given.has(name))) return;
        for (const name of names) {
            const field = form.elements[name];
            field.value = given.get(name) ?? "";
            // A choice that this matrix does not have.
            if (field.selectedIndex === -1) field.value = "";
        }
        apply();
    }

    form.dataset.cells = String(document.querySelectorAll(".tl-cells > li").length);
    form.hidden = false;
    form.addEventListener("input", () => {
        apply();
        remember();
    });
    form.addEventListener("reset", () =>
        setTimeout(() => {
            apply();
            remember();
        }),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", recall);
    apply();
    recall();
})();
