"use strict";
// Reads a number as the command line does, by the rules of records/values.py, which come as data:
// (text, whether it counts something) => { value } or { problem, remedy }.
const numberReader = (rules) => {
  const fits = (pattern, text) => new RegExp(`^(?:${pattern})$`).exec(text);
  const PLAIN = "[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?";
  // which way of writing a text shows: us (1,000.5), eu (1.000,5), or either (point?, comma?)
  const styleOf = (text) => {
    const found = fits(rules.number, text);
    if (!found) return null;
    const digits = found.groups.digits.trim();
    if (found.groups.exponent) return fits("\\d,\\d+", digits) ? "eu" : digits.includes(".") ? "us" : null;
    if (fits(rules.point, digits)) return found.groups.suffix ? "us" : "point?";
    if (fits(rules.comma, digits)) return "comma?";
    return fits(rules.us, digits) ? "us" : fits(rules.eu, digits) ? "eu" : null;
  };
  const isGrouped = (whole, group) => {
    const [first, ...rest] = whole.split(group);
    return first.length > 0 && first.length <= 3 && rest.every((part) => part.length === 3);
  };
  const valueOf = (text, comma) => {
    const found = fits(rules.number, text);
    if (!found || found.groups.percent) return NaN;
    const digits = found.groups.digits.replace(/[_'\u00a0\u202f ]/g, ""), [mark, group] = comma ? [",", "."] : [".", ","];
    const [whole, part = "", ...more] = digits.split(mark);
    if (more.length || part.includes(group) || (whole.includes(group) && !isGrouped(whole, group))) return NaN;
    const suffix = (found.groups.suffix ?? "").toLowerCase();
    if (suffix && !Object.hasOwn(rules.suffixes, suffix)) return NaN;
    const { sign, exponent = "" } = found.groups;
    const value = Number(`${sign}${whole.replaceAll(group, "") || "0"}.${part || "0"}${exponent}`);
    return suffix ? +(value * rules.suffixes[suffix]).toFixed(6) : value;
  };
  return (typed, counts) => {
    const text = typed.trim(), pointed = counts && fits(rules.pointed, text);
    if (fits(PLAIN, text) && !pointed) return { value: Number(text) };
    const style = pointed ? "point?" : styleOf(text);
    if (style?.endsWith("?") && counts === (style === "point?")) {
      const remedy = `write ${text.replaceAll(/[.,]/g, "")} or ${text.replaceAll(",", ".")}0`;
      return { problem: "a number that can be read in two ways", remedy };
    }
    const value = valueOf(text, style === "eu");
    return Number.isFinite(value) ? { value } : { problem: "not a number", remedy: "write it like 7e9, 7B or 50k" };
  };
};
