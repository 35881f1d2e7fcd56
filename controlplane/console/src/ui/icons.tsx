/** Small line drawings for the pages; decoration only, each stands beside its word. */

import type { JSX } from "preact";
import type { Page } from "../core/router";

const PATHS: Record<Page, string> = {
  overview: "M3 7h5l4 5h9M3 17h5l4-5M17 8l4 4-4 4",
  channels: "M3 8c4 0 4-4 9-4s5 4 9 4M3 16c4 0 4 4 9 4s5-4 9-4",
  market: "M4 20V10M9 20V4M14 20v-7M19 20V8",
  trading: "M4 7h14l-3-3M20 17H6l3 3",
  machine: "M5 5h14v14H5zM9 2v3M15 2v3M9 19v3M15 19v3M2 9h3M2 15h3M19 9h3M19 15h3",
  models: "M5 18a2 2 0 1 0 0-.1M12 6a2 2 0 1 0 0-.1M19 14a2 2 0 1 0 0-.1M6 16l5-8M13 7l5 6M7 18l10-4",
  config: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4v6M9 14v6",
  audit: "M6 3h9l4 4v14H6zM9 11h7M9 15h7",
  tokens: "M8 12a4 4 0 1 0 0 .1M12 12h9M17 12v4M21 12v3",
};

export function Icon({ page }: { page: Page }): JSX.Element {
  return (
    <svg class="icon" width="20" height="20" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[page]} />
    </svg>
  );
}
