// Watched, this script is a live chart: it runs
// again when this file, or a row that it has
// read, has changed. Change a word, and save.

interface Departure {
  flight: string;
  planned: string;
  delay: number;
}

export default async () => {
  const rows: Departure[] = await db.query(`
    select flight, planned, delay
    from departures order by planned`);
  const sum = rows.reduce((n, r) => n + r.delay, 0);
  const mean = sum / rows.length;
  return {
    title: "Minutes late",
    labels: rows.map((r) => `${r.planned} ${r.flight}`),
    series: [
      { name: "Delay", values: rows.map((r) => r.delay) },
      { name: "Mean", values: rows.map(() => mean) },
    ],
  };
};
