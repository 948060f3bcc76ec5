// The form of an exporter: two tabs, and findings while the user types. Without this script, both parts are visible,
// and the button "Check" loads the page again with the findings.
const form = document.getElementById("exporter-form")
const parts = [...form.querySelectorAll(".part")]
const tabs = document.getElementById("tabs")
const frequency = document.getElementById("spec.schedule.frequency")
let complete = form.dataset.complete !== undefined
const announcement = document.getElementById("announcement")
let changed = false

// Tabs, as in https://www.w3.org/WAI/ARIA/apg/patterns/tabs/.
function choose(part) {
  for (const [number, tab] of [...tabs.children].entries()) {
    const chosen = parts[number] === part
    tab.setAttribute("aria-selected", chosen)
    tab.tabIndex = chosen ? 0 : -1
    parts[number].hidden = !chosen
  }
}

tabs.setAttribute("role", "tablist")
tabs.setAttribute("aria-label", "Parts of the form")
for (const part of parts) {
  const tab = document.createElement("button")
  tab.type = "button"
  tab.id = `${part.id}-tab`
  tab.setAttribute("role", "tab")
  tab.setAttribute("aria-controls", part.id)
  tab.append(part.dataset.tab, " ", document.createElement("span"))
  tab.addEventListener("click", () => choose(part))
  tabs.append(tab)
  part.setAttribute("role", "tabpanel")
  part.setAttribute("aria-labelledby", tab.id)
  part.querySelector("h2").hidden = true
}
tabs.addEventListener("keydown", event => {
  const now = parts.findIndex(part => !part.hidden)
  const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: parts.length - 1 }[event.key]
  if (next === undefined) return
  event.preventDefault()
  choose(parts.at(next % parts.length))
  tabs.children[parts.findIndex(part => !part.hidden)].focus()
})
tabs.hidden = false
choose(parts[0])

// Show a field wherever it is, and put the cursor there.
function go(id, start, end) {
  const field = document.getElementById(id)
  choose(field.closest(".part"))
  for (let each = field.closest("details"); each; each = each.parentElement.closest("details")) each.open = true
  field.focus()
  if (start !== undefined) field.setSelectionRange(start, Math.max(end, start))
}
form.addEventListener("click", event => {
  const link = event.target.closest("[data-goto], [data-select]")
  if (!link) return
  event.preventDefault()
  if (link.dataset.goto) go(link.dataset.goto)
  else go(link.dataset.select, Number(link.dataset.start), Number(link.dataset.end))
})

// Fields of another frequency are hidden, and not sent.
function showByFrequency() {
  for (const field of form.querySelectorAll("[data-only-with]")) {
    field.hidden = field.dataset.onlyWith !== frequency.value
    field.querySelector("select").disabled = field.hidden
  }
}
for (const each of form.querySelectorAll("[data-without-script]")) each.remove()
frequency.addEventListener("change", showByFrequency)
showByFrequency()

// An empty pair of inputs for the next parameter.
const pairs = () => [...form.querySelectorAll(".pair")]
function addPair() {
  const last = pairs().at(-1)
  const next = last.cloneNode(true)
  for (const input of next.querySelectorAll("input")) input.value = ""
  last.after(next)
}

// What the user entered belongs to this entry in the history of the tab. So Back, Forward and a reload restore it, and a
// new form is empty. It ends with the tab.
const inputs = () => [...form.elements].filter(each => each.name)
const property = input => input.type === "checkbox" ? "checked" : "value"
function keep() {
  history.replaceState({ complete, pairs: pairs().length, values: inputs().map(each => each[property(each)]) }, "")
}
function restore(kept) {
  complete ||= kept.complete
  for (const pair of pairs().slice(kept.pairs)) pair.remove()
  while (pairs().length < kept.pairs) addPair()
  for (const [number, each] of inputs().entries()) {
    each[property(each)] = kept.values[number]
    if (kept.values[number]) each.closest("details")?.setAttribute("open", "")
  }
  showByFrequency()
  soon()
}

function showFindings() {
  for (const part of parts) {
    const wrong = part.querySelectorAll(".findings[data-severity=error]").length
    const count = document.getElementById(`${part.id}-tab`).lastElementChild
    count.textContent = wrong ? `${wrong}` : ""
    count.className = wrong ? "badge error" : ""
    if (wrong) count.setAttribute("aria-label", wrong === 1 ? "1 field with a mistake" : `${wrong} fields with mistakes`)
    else count.removeAttribute("aria-label")
  }
  for (const findings of form.querySelectorAll(".findings")) {
    const field = document.getElementById(findings.dataset.field)
    const wrong = findings.dataset.severity === "error"
    for (const input of field.matches("fieldset") ? field.querySelectorAll("input") : [field]) {
      if (wrong) input.setAttribute("aria-invalid", "true")
      else input.removeAttribute("aria-invalid")
    }
    if (findings.dataset.severity) findings.closest("details.rare")?.setAttribute("open", "")
  }
  for (const each of form.querySelectorAll("[data-script]")) each.hidden = false
  const summary = document.getElementById("summary").textContent.trim().replace(/\s+/g, " ")
  if (announcement.textContent !== summary) announcement.textContent = summary
}
showFindings()

// Check while the user types: one request at a time, and then another one if something changed in the meantime.
let timer = 0
let checking = null
let again = false
function check() {
  keep()
  again = true
  checking ??= checkUntilCurrent().finally(() => { checking = null })
  return checking
}
async function checkUntilCurrent() {
  while (again) {
    again = false
    const fresh = await request()
    if (!again) show(fresh)
  }
}
async function request() {
  const sent = new URLSearchParams([...new FormData(form), ["live", "1"], ...(complete ? [["complete", "1"]] : [])])
  try {
    const response = await fetch(form.action, { method: "POST", body: sent })
    return new DOMParser().parseFromString(await response.text(), "text/html")
  } catch {
    return null
  }
}
function show(fresh) {
  const summary = document.getElementById("summary")
  if (!fresh) summary.textContent = "The form cannot be checked, because its program was stopped. Copy what you need."
  else if (!fresh.getElementById("result")) summary.textContent = fresh.body.textContent
  else {
    for (const part of fresh.querySelectorAll(".findings, #result")) put(part)
    allowCopy(true)
  }
  showFindings()
}
// Until the answer is here, the page has the manifest of the form before the change.
function allowCopy(allowed) {
  for (const button of form.querySelectorAll("[data-copy]")) button.disabled = !allowed
}
function put(part) {
  const old = document.getElementById(part.id)
  const seen = part.outerHTML
  if (old.outerHTML === seen || old.dataset.seen === seen) return
  const focused = old.contains(document.activeElement) ? document.activeElement.id : ""
  old.replaceWith(document.adoptNode(part))
  part.dataset.seen = seen
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true })
}
function soon() {
  changed = true
  allowCopy(false)
  clearTimeout(timer)
  timer = setTimeout(check, 300)
}
form.addEventListener("input", event => {
  if (event.target.closest(".pair") && [...pairs().at(-1).querySelectorAll("input")].some(input => input.value)) addPair()
  soon()
})

form.addEventListener("submit", async event => {
  if (event.submitter && event.submitter.id !== "check") { changed = false; return }
  event.preventDefault()
  clearTimeout(timer)
  complete = true
  await check()
  const first = document.querySelector("#result [data-goto]")
  if (first) go(first.dataset.goto)
  else document.getElementById("result").scrollIntoView()
})
document.addEventListener("click", event => { if (event.target.closest("[data-copy]")) changed = false })
addEventListener("beforeunload", event => {
  if (!changed) return
  keep()
  event.preventDefault()
})
if (history.state) restore(history.state)
