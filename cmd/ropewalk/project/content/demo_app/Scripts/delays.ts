// Watched, this script is a live chart: it runs again when this file, or a row that it has read, has changed.

interface Departure {
  flight: string;
  planned: string;
  delay: number;
}

export default async () => {
  const rows: Departure[] = await db.query("select flight, planned, delay from departures order by planned");
  return {
    title: "Minutes late",
    labels: rows.map((r) => `${r.planned} ${r.flight}`),
    series: [
      { name: "Delay", values: rows.map((r) => r.delay) },
      { name: "Mean", values: rows.map(() => rows.reduce((sum, r) => sum + r.delay, 0) / rows.length) },
    ],
  };
};
