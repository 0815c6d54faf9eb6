// A column's button lights up, in the picture of lineage, what the column is made of and what is made of it.
addEventListener("DOMContentLoaded", () => {
  const graph = document.querySelector(".lineage")
  const here = graph?.querySelector(".here")
  if (!here) return
  const buttons = [...document.querySelectorAll("[id^='col-'] button")]
  const boxes = [...graph.querySelectorAll("g")], arrows = [...graph.querySelectorAll("path")]
  for (const box of boxes) box.dataset.table ??= box.querySelector("text").textContent
  const left = here.getBoundingClientRect().x - graph.getBoundingClientRect().x
  graph.scrollLeft = left - graph.clientWidth / 2 + 135

  // The places, table and column, on the way up from one or down from it.
  const reached = (start, edges) => {
    const found = new Set([start.join("\t")])
    for (const one of found) for (const other of edges(...one.split("\t"))) found.add(other.join("\t"))
    return found
  }
  const below = {}
  let above = {}
  let loaded
  const load = () => loaded ??= new Promise(resolve => {
    const script = document.createElement("script")
    script.src = document.querySelector("script[src*='assets/site.js']").src.replace("site.js", "lineage.js")
    script.onload = () => {
      const [names, edges] = LINEAGE
      for (const [table, columns] of Object.entries(edges))
        for (const [column, places] of Object.entries(columns))
          for (const place of places) {
            place[0] = names[place[0]]
            ;(below[place.join("\t")] ??= []).push([table, column])
          }
      above = edges
      resolve()
    }
    document.head.append(script)
  })
  const show = chosen => {
    const lit = {}
    if (chosen) {
      const start = [here.dataset.table, chosen]
      const up = reached(start, (table, column) => above[table]?.[column] ?? [])
      const down = reached(start, (table, column) => below[`${table}\t${column}`] ?? [])
      for (const place of new Set([...up, ...down])) {
        const [table, column] = place.split("\t")
        ;(lit[table] ??= []).push(column)
      }
    }
    graph.classList.toggle("by-column", Boolean(chosen))
    for (const box of boxes) {
      const text = (lit[box.dataset.table] ?? []).join(", ")
      box.classList.toggle("lit", Boolean(text))
      box.querySelector(".of")?.remove()
      if (!text) continue
      const line = box.querySelector("text").cloneNode()
      line.classList.add("of")
      line.setAttribute("y", 16)
      line.textContent = text.length > 42 ? text.slice(0, 41) + "…" : text
      box.append(line)
    }
    for (const arrow of arrows)
      arrow.classList.toggle("lit", arrow.dataset.of.split(" ").every(number => lit[boxes[number].dataset.table]))
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === chosen)
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", false)
    button.addEventListener("click", async () => {
      await load()
      const chosen = button.getAttribute("aria-pressed") === "true" ? "" : button.textContent
      show(chosen)
      if (chosen) graph.scrollIntoView({ block: "center" })
    })
  }
})
