// A column's button lights up, in the picture of lineage, what the column is made of and what is made of it.
addEventListener("DOMContentLoaded", () => {
  const graph = document.querySelector(".lineage")
  const here = graph?.querySelector(".here")
  if (!here) return
  const left = here.getBoundingClientRect().x - graph.getBoundingClientRect().x
  graph.scrollLeft = left - graph.clientWidth / 2 + 135

  // The places, table and column, on the way up from one or down from it.
  const reached = (start, edges) => {
    const found = new Set([start.join("\t")])
    for (const one of found) for (const other of edges(...one.split("\t"))) found.add(other.join("\t"))
    return found
  }
  const below = {}
  let loaded
  const load = () => loaded ??= new Promise(resolve => {
    const script = document.createElement("script")
    script.src = document.querySelector("script[src*='assets/site.js']").src.replace("site.js", "lineage.js")
    script.onload = () => {
      for (const [table, columns] of Object.entries(LINEAGE))
        for (const [column, places] of Object.entries(columns))
          for (const place of places) (below[place.join("\t")] ??= []).push([table, column])
      resolve()
    }
    document.head.append(script)
  })
  const show = chosen => {
    const lit = {}
    if (chosen) {
      const start = [here.dataset.table, chosen]
      const up = reached(start, (table, column) => LINEAGE[table]?.[column] ?? [])
      const down = reached(start, (table, column) => below[`${table}\t${column}`] ?? [])
      for (const place of new Set([...up, ...down])) {
        const [table, column] = place.split("\t")
        ;(lit[table] ??= []).push(column)
      }
    }
    graph.classList.toggle("by-column", Boolean(chosen))
    for (const box of graph.querySelectorAll("g")) {
      const text = (lit[box.dataset.table] ?? []).join(", ")
      box.classList.toggle("lit", Boolean(text))
      box.querySelector(".of")?.remove()
      if (!text) continue
      const line = box.querySelector("text").cloneNode()
      line.classList.add("of")
      line.setAttribute("y", 33)
      line.textContent = text.length > 42 ? text.slice(0, 41) + "…" : text
      box.append(line)
    }
    for (const arrow of graph.querySelectorAll("path"))
      arrow.classList.toggle("lit", Boolean(lit[arrow.dataset.from] && lit[arrow.dataset.to]))
    for (const button of document.querySelectorAll("[data-column]"))
      button.setAttribute("aria-pressed", button.dataset.column === chosen)
  }
  for (const button of document.querySelectorAll("[data-column]")) {
    button.setAttribute("aria-pressed", false)
    button.addEventListener("click", async () => {
      await load()
      const chosen = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.column
      show(chosen)
      if (chosen) graph.scrollIntoView({ block: "center" })
    })
  }
})
