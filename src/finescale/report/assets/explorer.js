// The explorer: reads each forecast from its grid, or evaluates each law in every bootstrap draw, for the chosen model
// size, data size and price.
(() => {
  const OPERATIONS = {
    "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
    neg: (a) => -a, abs: Math.abs, exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p,
    log2: Math.log2, log10: Math.log10, sqrt: Math.sqrt, tanh: Math.tanh, max: Math.max, min: Math.min,
  };
  // a formula (a number, a parameter's name, or an operation and its operands) at given parameters and model size:
  // a number, or a function of the data size where it depends on that; everything else is computed once
  const compile = (node, p, X) => {
    if (typeof node === "number") return node;
    if (typeof node === "string") return p[node];
    const [name, first, second] = node;
    if (name === "size") return X;
    if (name === "data") return (D) => D;
    const f = OPERATIONS[name], a = compile(first, p, X);
    if (second === undefined) return typeof a === "function" ? (D) => f(a(D)) : f(a);
    const b = compile(second, p, X);
    if (typeof a === "function") return typeof b === "function" ? (D) => f(a(D), b(D)) : (D) => f(a(D), b);
    return typeof b === "function" ? (D) => f(a, b(D)) : f(a, b);
  };
  const lossOf = (node, p, X) => {
    const found = compile(node, p, X);
    return typeof found === "function" ? found : () => found;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const DASHES = ["none", "7 3", "2 3", "10 3 2 3", "12 5", "5 2 1 2"];

  const unpack = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Float64Array(bytes.buffer);
  };
  // a percentile of sorted values, linear between neighbours (as numpy's)
  const percentile = (sorted, share) => {
    const at = share * (sorted.length - 1), below = Math.floor(at);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
  };
  const ends = (values, level) => {
    const sorted = Float64Array.from(values).sort();
    return [percentile(sorted, (1 - level) / 2), percentile(sorted, (1 + level) / 2)];
  };
  const count = (v) => {
    for (const [limit, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"]]) {
      if (v >= limit) return +(v / limit).toPrecision(3) + unit;
    }
    if (v >= 1e5) return (v / 1e3).toFixed(0) + "K";
    return v >= 1 ? Math.round(v).toLocaleString("en-US") : v.toPrecision(2);
  };
  const short = (v) => (v === 0 || (v >= 1e-3 && v < 1e6) ? String(+v.toPrecision(3)) : v.toExponential(1));
  const span = (hours) => {
    const s = hours * 3600;
    return s < 120 ? s.toFixed(0) + " s" : s < 7200 ? (s / 60).toFixed(0) + " min"
      : s < 172800 ? (s / 3600).toFixed(1) + " h" : (s / 86400).toFixed(1) + " days";
  };
  const chance = (p) => (p > 0.99 ? "over 99%" : p < 0.01 ? "under 1%" : Math.round(100 * p) + "%");
  const capital = (words) => words[0].toUpperCase() + words.slice(1);
  const times = (f) => (f < 10 ? f.toPrecision(2) : String(+f.toPrecision(2)));

  // the fitted law and its draws at one model size, kept until the size changes
  const atSize = (c, X) => {
    if (c.kept?.X !== X) {
      c.kept = { X, fitted: lossOf(c.formula, c.parameters, X), draws: c.sets.map((p) => lossOf(c.formula, p, X)) };
    }
    return c.kept;
  };
  // a forecast's centre, noise and discrepancy: linear between the nodes of its grid in log2 D and log2 X, on the
  // outcome's scale; beyond the grid those of its edge
  const between = (nodes, at) => {
    if (nodes.length === 1) return [0, 0, 0];
    const v = Math.min(Math.max(at, nodes[0]), nodes[nodes.length - 1]);
    let i = 0;
    while (i < nodes.length - 2 && nodes[i + 1] <= v) i++;
    return [i, i + 1, (v - nodes[i]) / (nodes[i + 1] - nodes[i])];
  };
  const onGrid = (c, X, D) => {
    const { d, x } = c.grid, [i, k, u] = between(d, Math.log2(D)), [j, m, v] = between(x, Math.log2(X ?? 1));
    return ["centre", "seen", "beyond", "shared"].map((name) => {
      const row = (at) => c.grid[name][at * d.length + i] * (1 - u) + c.grid[name][at * d.length + k] * u;
      return row(j) * (1 - v) + row(m) * v;
    });
  };
  const fromZ = ({ name, sign, low, high }, z) => {
    const safe = Math.min(Math.max(z, -690), 690);
    if (name === "log") return sign * Math.exp(safe);
    if (name !== "logit") return sign * z;
    const loss = (high - low) / (1 + Math.exp(-safe));
    return sign > 0 ? low + loss : high - loss;
  };
  const forecastAt = (c, X, D) => {
    const [centre, seen, beyond] = onGrid(c, X, D);
    const mean = Math.hypot(c.normal * seen, c.student * beyond), run = Math.hypot(mean, c.normal * c.noise);
    const inOrder = (half) => [fromZ(c.scale, centre - half), fromZ(c.scale, centre + half)].sort((a, b) => a - b);
    return { loss: fromZ(c.scale, centre), mean: inOrder(mean), run: inOrder(run) };
  };
  const drawsAt = (c, X, D) => {
    if (c.grid) {
      const [centre, seen, beyond, shared] = onGrid(c, X, D), [noise, own, common] = c.variates;
      const apart = beyond * Math.sqrt(1 - shared), together = beyond * Math.sqrt(shared);
      return Float64Array.from(noise, (v, i) => fromZ(c.scale, centre + seen * v + apart * own[i] + together * common[i]));
    }
    const { draws } = atSize(c, X), result = new Float64Array(draws.length);
    for (let i = 0; i < result.length; i++) result[i] = draws[i](D);
    return result;
  };
  // the median or fitted value, and the intervals of the mean and of a new run
  const predicted = (c, X, D, level, draws) => {
    if (c.grid) return forecastAt(c, X, D);
    const run = c.log ? draws.map((v, i) => v * Math.exp(c.run[i])) : draws.map((v, i) => v + c.run[i]);
    return { loss: atSize(c, X).fitted(D), mean: ends(draws, level), run: ends(run, level) };
  };
  const outside = (range, v) => (range ? Math.max(v / range[1], range[0] / v, 1) : 1);
  const perExample = ([sizes, flops], c, X) => {
    if (!flops.length) return NaN;
    const at = X ?? c.size;
    if (at === null || sizes[0] === null) return flops[0];
    const within = Math.min(Math.max(at, sizes[0]), sizes[sizes.length - 1]);
    let k = 1;
    while (k < sizes.length - 1 && sizes[k] < within) k++;
    if (sizes.length === 1) return (flops[0] * at) / within;
    const share = Math.log(within / sizes[k - 1]) / Math.log(sizes[k] / sizes[k - 1]);
    return Math.exp(Math.log(flops[k - 1]) * (1 - share) + Math.log(flops[k]) * share) * (at / within);
  };
  const missed = (c, far) => {
    const parts = [c.misses[0]];
    if (far.data > 1 + 1e-9) parts.push(c.misses[1]);
    if (far.size > 1 + 1e-9) parts.push(c.misses[2]);
    return parts.some((m) => m === null) ? NaN : Math.max(...parts);
  };

  const answer = (d, X, D, price) => {
    // of one model a candidate says nothing for another: it is left out there
    const knows = (c) => !d.sizes || c.ranges.size || c.size === null || Math.abs(c.size / X - 1) < d.same;
    const rows = d.candidates.filter(knows).map((c) => {
      const draws = drawsAt(c, X, D);
      const { loss, mean: [low, high], run: [runLow, runHigh] } = predicted(c, X, D, d.level, draws);
      const far = { size: outside(c.ranges.size, X), data: outside(c.ranges.data, D) };
      const flops = perExample(c.flops, c, X) * D;
      const hours = c.rate ? flops / c.rate / 3600 : perExample(c.hours, c, X) * D;
      const money = price === null ? NaN : hours === hours ? hours * price : (flops / 1e18) * price;
      return { c, draws, loss, low, high, runLow, runHigh, far, missed: missed(c, far), flops, hours, money, wins: 0 };
    });
    const n = rows[0].draws.length;
    for (let i = 0; i < n; i++) {
      let best = 0;
      for (let k = 1; k < rows.length; k++) if (d.outcome.sign * (rows[k].draws[i] - rows[best].draws[i]) < 0) best = k;
      rows[best].wins++;
    }
    for (const row of rows) row.probability = row.wins / n;
    return rows.sort((a, b) => d.outcome.sign * (a.loss - b.loss));
  };
  const reasons = (d, rows) => {
    const [best, second] = rows, said = [...d.doubts], pair = rows.slice(0, 2);
    for (const what of ["size", "data"]) {
      const far = Math.max(...pair.map((r) => r.far[what]));
      if (far > d.far) said.push(`the ${what === "size" ? "model" : "data"} size lies ${times(far)}x outside the runs`);
    }
    if (!second) return said;
    if (pair.some((r) => r.c.tuned === false)) said.push("a learning rate was not tuned");
    const gap = Math.abs(second.loss - best.loss), off = Math.max(...pair.map((r) => r.missed));
    if (d.forecast) {
      // a forecast's own error is in its probabilities
      if (gap === 0 && !(best.probability > d.sure)) said.push(`${best.c.label} and ${second.c.label} tie`);
    } else if (Number.isNaN(off)) said.push("the laws could not be tested this far outside their data");
    else if (off > gap) said.push(`the laws were off by ${off.toFixed(d.outcome.digits)}${d.outcome.apart} where they were tested, more than the ${gap.toFixed(d.outcome.digits)} between the two`);
    if (best.probability < d.sure) said.push(`the probability is ${chance(best.probability)} only`);
    return said;
  };

  const make = (name, attributes, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const ticks = (low, high) => {
    const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((nice) => nice * power).find((size) => size >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(+(k * step).toPrecision(6));
    return found;
  };
  const HEIGHT = 270, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 40, POINTS = 33;

  // each candidate has a dash of its own, too: a line under another one shows in its gaps
  const colourOf = (c) => `var(--series-${c.series % 6})`;
  const dashAt = (c) => (c.series + Math.floor(c.series / 6)) % DASHES.length;
  const dashOf = (c) => DASHES[dashAt(c)];

  const start = (root) => {
    const d = JSON.parse(root.querySelector("script.data").textContent);
    for (const c of d.candidates) {
      if (c.grid) {
        for (const name of Object.keys(c.grid)) c.grid[name] = unpack(c.grid[name]);
        c.variates = c.variates.map(unpack);
        continue;
      }
      c.run = unpack(c.run);
      const arrays = Object.entries(c.draws).map(([name, text]) => [name, unpack(text)]);
      c.sets = Array.from(c.run, (_, i) => Object.fromEntries(arrays.map(([name, values]) => [name, values[i]])));
    }
    const limits = { size: d.sizes, data: d.data, price: [0.01, 1000] };
    const first = { size: d.start.size, data: d.start.data, price: 2 };
    const values = { size: null, data: null, price: null };
    const read = numberReader(d.numbers);
    const wordsOf = (what, value) => (what === "price" ? short(value) : count(value));
    const controls = [...root.querySelectorAll("input[type=range]")].map((slider) => {
      const part = slider.parentElement, what = slider.dataset.what, [low, high] = limits[what];
      const place = (value) => Math.round((d.steps * Math.log(value / low)) / Math.log(high / low));
      return { slider, what, low, high, place, field: part.querySelector(".typed"), wrong: part.querySelector(".wrong") };
    });
    // where a slider stands: the start itself, else a round number
    const valueAt = ({ slider, what, low, high, place }) => {
      if (+slider.value === place(first[what])) return first[what];
      return Math.min(Math.max(+(low * (high / low) ** (slider.value / d.steps)).toPrecision(3), low), high);
    };
    const put = ({ slider, field, wrong, what, place }, value) => {
      values[what] = value;
      slider.value = place(value);
      field.value = wordsOf(what, value);
      field.dataset.value = String(value);
      field.removeAttribute("aria-invalid");
      wrong.textContent = "";
      slider.setAttribute("aria-valuetext", field.value);
    };
    // takes a text as the number of a control; a wrong one is said, and changes nothing
    const take = (control, text) => {
      const { field, wrong, what, low, high } = control, words = (v) => wordsOf(what, v);
      const { value, problem, remedy } = read(text, what !== "price");
      const end = [low, high].find((v) => words(v) === words(value ?? NaN)); // as the ends are shown
      if ((value >= low && value <= high) || end !== undefined) {
        put(control, Math.min(Math.max(value, low), high));
        return;
      }
      const why = what === "price" ? "" : " (ten times beyond the runs)";
      field.value = text;
      field.setAttribute("aria-invalid", "true");
      wrong.textContent = `${problem ? capital(problem) + ": " + remedy : `Wanted: ${words(low)} to ${words(high)}${why}`}; got: `
        + `${clipped(text)}. The answer is still for ${words(values[what])}.`;
    };
    const curve = (c, X) => {
      if (c.curve?.X !== X) {
        const points = Array.from({ length: POINTS }, (_, i) => {
          const D = d.data[0] * (d.data[1] / d.data[0]) ** (i / (POINTS - 1));
          if (c.grid) {
            const { loss, mean: [low, high] } = forecastAt(c, X, D);
            return { D, loss, low, high };
          }
          const [low, high] = ends(drawsAt(c, X, D), d.level);
          return { D, loss: atSize(c, X).fitted(D), low, high };
        });
        c.curve = { X, points };
      }
      return c.curve.points;
    };
    let shown = [];
    const plot = (X, D) => {
      const WIDTH = Math.max(300, Math.min(760, root.clientWidth));
      const made = shown.map((c) => curve(c, X)), seen = made.flat().filter((p) => p.D >= d.data[0] * 3);
      const low = Math.min(...seen.map((p) => p.low)), high = Math.max(...seen.map((p) => p.high));
      const x = (v) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(v / d.data[0])) / Math.log(d.data[1] / d.data[0]);
      const y = (v) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - Math.max(v, low))) / (high - low || 1);
      const svg = make("svg", { width: WIDTH, height: HEIGHT, role: "img",
        "aria-label": `Predicted ${d.outcome.noun} against finetuning examples for the chosen model size` });
      const clip = "clip-" + root.id, box = make("clipPath", { id: clip });
      box.append(make("rect", { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }));
      svg.append(box);
      for (let k = Math.ceil(Math.log10(d.data[0])); k <= Math.floor(Math.log10(d.data[1])); k++) {
        svg.append(make("line", { x1: x(10 ** k), x2: x(10 ** k), y1: TOP, y2: HEIGHT - BOTTOM, class: "grid" }));
        svg.append(make("text", { x: x(10 ** k), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, count(10 ** k)));
      }
      for (const v of ticks(low, high)) {
        svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v), class: "grid" }));
        svg.append(make("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, String(v)));
      }
      svg.append(make("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "finetuning examples; shaded: outside the runs"));
      const runs = d.candidates.map((c) => c.ranges.data);
      const seenTo = [Math.min(...runs.map((r) => r[0])), Math.max(...runs.map((r) => r[1]))];
      for (const [a, b] of [[d.data[0], seenTo[0]], [seenTo[1], d.data[1]]]) {
        svg.append(make("rect", { x: x(a), y: TOP, width: x(b) - x(a), height: HEIGHT - TOP - BOTTOM, class: "beyond" }));
      }
      const solidFirst = [...made.keys()].sort((a, b) => dashAt(shown[a]) - dashAt(shown[b]));
      solidFirst.forEach((k) => {
        const points = made[k], colour = colourOf(shown[k]), inside = { "clip-path": `url(#${clip})` };
        const band = points.map((p) => `${x(p.D)},${y(p.high)}`).concat([...points].reverse().map((p) => `${x(p.D)},${y(p.low)}`));
        svg.append(make("polygon", { points: band.join(" "), fill: colour, opacity: 0.16, ...inside }));
        svg.append(make("polyline", { points: points.map((p) => `${x(p.D)},${y(p.loss)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dashOf(shown[k]), ...inside }));
      });
      svg.append(make("line", { x1: x(D), x2: x(D), y1: TOP, y2: HEIGHT - BOTTOM, class: "chosen" }));
      root.querySelector(".plot").replaceChildren(svg);
    };
    const mark = (c) => {
      const svg = make("svg", { width: 26, height: 10, "aria-hidden": "true", class: "key" });
      svg.append(make("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: colourOf(c), "stroke-width": 3, "stroke-dasharray": dashOf(c) }));
      return svg;
    };
    const cell = (value, text, name) => {
      const td = document.createElement("td");
      td.textContent = text;
      td.className = "n";
      td.dataset.name = name;
      if (Number.isFinite(value)) td.dataset.value = String(value);
      return td;
    };
    const update = () => {
      const all = answer(d, values.size, values.data, values.price), why = reasons(d, all);
      const rows = all.slice(0, d.shown), [best, second] = rows;
      shown = d.candidates.filter((c) => rows.some((r) => r.c === c));
      const off = Math.max(...rows.map((r) => r.missed || 0)), tested = rows.some((r) => r.missed === r.missed);
      const lead = second ? `, ${Math.abs(second.loss - best.loss).toFixed(d.outcome.digits)} ${d.outcome.lead} ${second.c.label}` : "";
      root.querySelector(".verdict").textContent = why.length
        ? "Cannot tell."
        : `${capital(best.c.label)}: ${best.loss.toFixed(d.outcome.digits)}${d.outcome.unit}${lead}; best with a probability of ${chance(best.probability)}.`;
      root.querySelector(".why").textContent = why.length
        ? `Because ${why.join("; ")}. By the ${d.forecast ? "forecast" : "laws"} alone ${best.c.label} has the ${d.outcome.most} ${d.outcome.noun}${lead}.`
        : tested ? `${d.forecast ? "The forecast was" : "The laws were"} off by up to ${off.toFixed(d.outcome.digits)}${d.outcome.apart} on average where tested.`
          : "There were too few data sizes to hide any as a test.";
      const timed = rows.every((r) => Number.isFinite(r.hours)), counted = d.candidates.some((c) => c.flops[1].length);
      root.querySelector("tbody").replaceChildren(...rows.map((r) => {
        const tr = document.createElement("tr"), key = document.createElement("th");
        tr.dataset.candidate = r.c.name;
        key.scope = "row";
        key.append(mark(r.c), capital(r.c.label));
        tr.append(key, cell(r.loss, r.loss.toFixed(d.outcome.digits), "loss"));
        tr.append(cell(r.low, `${r.low.toFixed(d.outcome.digits)} to ${r.high.toFixed(d.outcome.digits)}`, "low"));
        tr.lastChild.dataset.high = String(r.high);
        tr.append(cell(r.runLow, `${r.runLow.toFixed(d.outcome.digits)} to ${r.runHigh.toFixed(d.outcome.digits)}`, "run_low"));
        tr.lastChild.dataset.high = String(r.runHigh);
        tr.append(cell(r.probability, chance(r.probability), "probability"));
        if (values.price !== null) {
          if (counted) tr.append(cell(r.flops, r.flops.toExponential(1), "flops"));
          if (timed) tr.append(cell(r.hours, span(r.hours), "hours"));
          tr.append(cell(r.money, short(r.money), "money"));
        }
        return tr;
      }));
      plot(values.size, values.data);
    };
    const moved = () => {
      update();
      keepLink(d, controls, values);
    };
    for (const control of controls) {
      put(control, first[control.what]);
      control.slider.addEventListener("input", () => (put(control, valueAt(control)), moved()));
      control.field.addEventListener("change", () => (take(control, control.field.value), moved()));
    }
    window.addEventListener("resize", () => plot(values.size, values.data));
    update();
    // the question of a link: what it leaves out stands at its start
    const ask = (asked) => {
      const known = Object.entries(d.names).filter(([what]) => controls.some((control) => control.what === what));
      const names = Object.fromEntries(known.map(([what, name]) => [name, what]));
      for (const control of controls) put(control, first[control.what]);
      for (const [name, text] of asked) {
        const control = controls.find(({ what }) => Object.hasOwn(names, name) && what === names[name]);
        if (control) take(control, text);
      }
      const strange = asked.filter(([name]) => name !== "task" && !Object.hasOwn(names, name));
      const wrong = strange.map(([name]) => `wanted: ${Object.keys(names).join(", ")}; got: ${clipped(name)}`);
      complain(wrong);
      update();
      root.scrollIntoView();
    };
    const complain = (wrong) => {
      root.querySelector(".link").textContent = wrong.length ? `The link's question: ${wrong.join("; ")}.` : "";
    };
    return { task: d.task, ask, complain };
  };

  // the question in the page's address, as #finetune_examples=50000&model_params=...
  const clipped = (text) => (text.length > 60 ? text.slice(0, 60) + "..." : text);
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a stray percent sign
    }
  };
  const asked = () => location.hash.slice(1).split("&").filter((part) => part.includes("=")).map((part) => {
    const at = part.indexOf("=");
    return [decoded(part.slice(0, at)), decoded(part.slice(at + 1))];
  });
  let waiting = 0;
  const keepLink = (d, controls, values) => {
    const parts = controls.map(({ what }) => [d.names[what], String(values[what])]);
    if (explorers.length > 1) parts.unshift(["task", d.task]);
    const hash = "#" + parts.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
    clearTimeout(waiting); // browsers refuse many changes of an address in a short time
    waiting = setTimeout(() => {
      try {
        history.replaceState(null, "", hash);
      } catch {
        // a page inside another one, as notebooks show it, has no address of its own
      }
    }, 150);
  };
  const explorers = [...document.querySelectorAll(".explorer")].map(start);
  const open = () => {
    const question = asked(), task = question.find(([name]) => name === "task")?.[1];
    if (!question.length || !explorers.length) return;
    const meant = task === undefined ? explorers[0] : explorers.find((one) => one.task === task);
    if (meant) meant.ask(question);
    else explorers[0].complain([`wanted: a task of this page, ${explorers.map((one) => one.task).join(" or ")}; got: ${clipped(task)}`]);
  };
  window.addEventListener("hashchange", open);
  open();
})();
