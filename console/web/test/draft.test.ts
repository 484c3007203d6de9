import { describe, expect, it } from "vitest";
import { arrived, isDirty, isOvertaken, saved, typed } from "../src/model/draft";

describe("a draft", () => {
  const begun = typed(undefined, "a1", "a");

  it("is dirty until it is saved, and overtaken when somebody else was faster", () => {
    expect(isDirty(undefined, "a")).toBe(false);
    expect(isDirty(begun, "a")).toBe(true);
    expect(isOvertaken(begun, "a")).toBe(false);
    expect(isOvertaken(begun, "b")).toBe(true);
    expect(isDirty(typed(begun, "b", "b"), "b")).toBe(false);
    expect(arrived(begun, "b")).toBe(begun);
    expect(arrived(begun, "a1"), "somebody else has written the same").toBeUndefined();
  });

  it("is shown until what was saved has come back", () => {
    const kept = saved(begun, "a1", "a", false);
    expect(kept?.text).toBe("a1");
    expect(isDirty(kept, "a")).toBe(false);
    expect(isOvertaken(kept, "a")).toBe(false);
    expect(arrived(kept, "a1")).toBeUndefined();
    expect(saved(begun, "a1", "a1", true), "it has come back before").toBeUndefined();
  });

  it("keeps what was typed while it was being saved", () => {
    const more = typed(begun, "a12", "a");
    for (const after of [saved(more, "a1", "a1", true), arrived(saved(more, "a1", "a", false), "a1")]) {
      expect(after).toEqual({ text: "a12", from: "a1" });
      expect(isDirty(after, "a1")).toBe(true);
      expect(isOvertaken(after, "a1")).toBe(false);
      expect(isOvertaken(after, "b")).toBe(true);
    }
    const later = typed(saved(begun, "a1", "a", false), "a13", "a");
    expect(isDirty(later, "a")).toBe(true);
    expect(arrived(later, "a1")).toEqual({ text: "a13", from: "a1" });
  });

  it("that was undone meanwhile stays undone", () => {
    expect(saved(undefined, "a1", "a", false)).toBeUndefined();
  });
});
