/** The limits in force, as a table. They are edited as a part of the strategy's document. */

import type { JSX } from "preact";
import { group, words } from "../core/format";
import { fields, list, text, type Fields } from "../core/read";
import { configChanged } from "../core/state";
import { useLoad } from "../ui/load";
import { Empty, Panel, Problem, Scroll } from "../ui/parts";

export function Limits(): JSX.Element {
  const loaded = useLoad("/v1/config/strategy", 2_000, configChanged.value);
  const risk = fields(fields(fields(loaded.answer?.value)["document"])["risk"]);
  const instruments = list(risk["instruments"]).map(fields);
  const byDefault = fields(risk["default"]);
  const names = [...new Set([...Object.keys(byDefault), ...instruments.flatMap((entry) => Object.keys(fields(entry["limits"])))])];
  const edit = (
    <a class="button small" href="/config/strategy#risk">
      Edit limits
    </a>
  );
  if (loaded.at === undefined) return <Problem problem={loaded.problem} />;
  return (
    <div class="stack">
      <Panel title="Over all instruments" aged at={loaded.at} actions={edit}>
        <dl class="limit-figures">
          {Object.entries(fields(risk["total"])).map(([name, value]) => (
            <div key={name}>
              <dt>{words(name)}</dt>
              <dd>{show(value)}</dd>
            </div>
          ))}
        </dl>
      </Panel>
      <Panel title="For each instrument" aged at={loaded.at} flush actions={edit}>
        {names.length === 0 ? (
          <Empty>No limits: no instrument is traded.</Empty>
        ) : (
          <Scroll label="Limits of instruments" tall>
            <table>
              <thead>
                <tr>
                  <th>Limit</th>
                  <th class="number">All others</th>
                  {instruments.map((entry) => (
                    <th key={keyOf(entry)} class="number">
                      {keyOf(entry)}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {names.map((name) => (
                  <tr key={name}>
                    <td>{words(name)}</td>
                    <td class="number">{show(byDefault[name])}</td>
                    {instruments.map((entry) => {
                      const own = fields(entry["limits"])[name];
                      return (
                        <td key={keyOf(entry)} class="number">
                          {own === undefined ? <span class="muted">{show(byDefault[name])}</span> : <strong>{show(own)}</strong>}
                        </td>
                      );
                    })}
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      <div class="grid two">
        <Panel title="Restricted" aged at={loaded.at}>
          {list(risk["restricted"]).length === 0 ? (
            <Empty>Nothing is restricted.</Empty>
          ) : (
            <ul>
              {list(risk["restricted"]).map(fields).map((entry) => (
                <li key={keyOf(entry)}>
                  <a href={`/market/${keyOf(entry)}`}>{keyOf(entry)}</a> {entry["short_sale_only"] === true ? "no short sales" : "not traded"}
                </li>
              ))}
            </ul>
          )}
        </Panel>
        <Panel title="Sessions, UTC" aged at={loaded.at}>
          <ul>
            {list(risk["sessions"]).map(fields).map((session) => (
              <li key={JSON.stringify(session)}>
                <strong>
                  {text(session["open"])} – {text(session["close"])}
                </strong>{" "}
                {list(session["days"]).map(text).join(", ")}
              </li>
            ))}
          </ul>
        </Panel>
      </div>
    </div>
  );
}

function keyOf(entry: Fields): string {
  const key = fields(entry["instrument"]);
  return `${text(key["publisher_id"])}:${text(key["instrument_id"])}`;
}

function show(value: unknown): string {
  if (value === undefined || value === null) return "–";
  return typeof value === "number" ? group(value) : text(value);
}
