/** The registry of models: what there is, and the card of each version. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { group } from "../core/format";
import { fields, list, number, text } from "../core/read";
import { useLoad } from "../ui/load";
import { Dialog, Empty, PageHead, Panel, Problem, Scroll } from "../ui/parts";

export function Models(): JSX.Element {
  const loaded = useLoad("/v1/models", 2_000);
  const models = list(fields(loaded.answer?.value)["items"]).map(fields);
  const [shown, setShown] = useState<{ name: string; version: number } | undefined>();
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
                  <th>Model</th>
                  <th class="number">Version</th>
                  <th>SHA-256 of its file</th>
                  <th>
                    <span class="hidden-text">Card</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {models.flatMap((model) =>
                  list(model["versions"])
                    .map(fields)
                    .map((entry) => {
                      const [name, version] = [text(model["name"]), number(entry["version"]) ?? 0];
                      return (
                        <tr key={`${name} ${version}`}>
                          <td>
                            <strong>{name}</strong>
                          </td>
                          <td class="number big-number">{version}</td>
                          <td class="mono break">{text(entry["onnx_sha256"])}</td>
                          <td>
                            <button type="button" class="small" aria-label={`Card of ${name} ${version}`} onClick={() => setShown({ name, version })}>
                              Card
                            </button>
                          </td>
                        </tr>
                      );
                    }),
                )}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      {shown !== undefined && <Card {...shown} onClose={() => setShown(undefined)} />}
    </>
  );
}

function Card({ name, version, onClose }: { name: string; version: number; onClose(): void }): JSX.Element {
  const loaded = useLoad(`/v1/models/${encodeURIComponent(name)}/${version}`);
  const own = fields(loaded.answer?.value);
  return (
    <Dialog title={`${name}, version ${version}`} onClose={onClose} class="wide">
      <Problem problem={loaded.problem} />
      {loaded.at !== undefined && (
        <>
          <p class="muted">{group(number(own["onnx_bytes"]))} bytes of ONNX</p>
          <pre class="json" tabIndex={0}>
            {JSON.stringify(own["card"], null, 2)}
          </pre>
        </>
      )}
      <div class="dialog-actions">
        <button type="button" class="primary" onClick={onClose} autofocus>
          Close
        </button>
      </div>
    </Dialog>
  );
}
