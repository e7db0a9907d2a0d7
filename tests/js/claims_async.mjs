// What lesson 00b claims of JavaScript's async functions, run: one JSON object is printed,
// {claim: what happened, in order}. `tests/lessons/test_lesson_00b_in_node.py` says what is expected.

const claims = {};

const warnings = [];
process.on("warning", (warning) => warnings.push(warning.message));

// Called without await.
{
  const seen = [];
  const brew = async (what) => {
    seen.push("the water boils");
    return `a cup of ${what}`;
  };
  const cup = brew("tea");
  seen.push("called");
  claims["called without await"] = [...seen, cup instanceof Promise];
  claims["awaited"] = await cup;
}

// A change of turn.
{
  const seen = [];
  const waits = async (name) => {
    seen.push(`${name} 1`);
    await "nothing to wait for";
    seen.push(`${name} 2`);
  };
  await Promise.all([waits("ada"), waits("bob")]);
  claims["an await with nothing to wait for"] = seen;
}

// Functions made in a loop.
{
  const said = [];
  for (const name of ["ada", "bob", "cy"]) said.push(() => name);
  claims["functions made in a loop"] = said.map((say) => say());
}

await new Promise((resolve) => setImmediate(resolve)); // warnings are told after the turn
claims["warnings"] = warnings;
console.log(JSON.stringify(claims));
