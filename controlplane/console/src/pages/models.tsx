/** The registry of models: what there is, and which of them act. */

import type { JSX } from "preact";
import { dateTime, words } from "../core/format";
import { fields, list, number, text } from "../core/read";
import { useLoad } from "../ui/load";
import { Empty, PageHead, Panel, Problem, Scroll } from "../ui/parts";

const SHOWN_FIRST = ["name", "version", "versions", "latest", "state", "kind", "features", "target", "made_ns", "time_ns"];

export function Models(): JSX.Element {
  const loaded = useLoad("/v1/models", 2_000);
  const models = list(fields(loaded.answer?.value)["items"]).map(fields);
  const names = [...new Set(models.flatMap((model) => Object.keys(model)))].filter((name) => models.some((model) => simple(model[name])));
  names.sort((x, y) => rank(x) - rank(y));
  return (
    <>
      <PageHead title="Models" about="What was trained and registered. A strategy names the one that acts." />
      <Problem problem={loaded.problem} />
      <Panel title="Registry" aged at={loaded.at} flush>
        {models.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "No model is registered."}</Empty>
        ) : (
          <Scroll label="Models">
            <table>
              <thead>
                <tr>
                  {names.map((name) => (
                    <th key={name}>{words(name.replace(/_ns$/, ""))}</th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {models.map((model) => (
                  <tr key={`${text(model["name"])} ${text(model["version"])}`}>
                    {names.map((name) => (
                      <td key={name} class="break">
                        {name.endsWith("_ns") ? dateTime(number(model[name])) : said(model[name])}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
    </>
  );
}

function rank(name: string): number {
  const at = SHOWN_FIRST.indexOf(name);
  return at < 0 ? 99 : at;
}

function simple(value: unknown): boolean {
  return value !== null && (typeof value !== "object" || (Array.isArray(value) && value.every((item) => typeof item !== "object")));
}

function said(value: unknown): string {
  return Array.isArray(value) ? value.map(text).join(", ") : text(value) || "–";
}
