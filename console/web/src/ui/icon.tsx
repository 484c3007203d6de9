const paths = {
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.5l4.5 4.500L19 7.5",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.500v13l10.5-6.500z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4",
  moon: "M19.5 14A8 8 0 0 1 10 4.5 8 8 0 1 0 19.5 14z",
  auto: "M12 3.500a8.5 8.5 0 1 0 0 17zM12 3.500a8.5 8.5 0 0 1 0 17",
  out: "M13 5h6v6M19 5l-9 9M10 6H5v13h13v-5",
} as const;

/** The name of an icon. */
export type IconName = keyof typeof paths;

/** A drawing of 16 pixels; what it means is said by the label beside it. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

/** Three strands laid into one. */
export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path class="strand-a" d="M3 23C9 23 10 9 16 9s7 14 13 14" />
      <path class="strand-b" d="M3 9c6 0 7 14 13 14S23 9 29 9" />
      <path class="strand-a" d="M3 23C6.2 23 8 19.4 9.7 16M22.3 16C24 19.4 25.8 23 29 23" />
    </svg>
  );
}
