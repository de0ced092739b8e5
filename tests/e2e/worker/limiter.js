// Stands in for Cloudflare's rate limiter, of which workerd alone has none: for each key the first
// LIMIT calls pass, and without LIMIT all do.
export default function makeBinding({ limit }) {
  const calls = new Map();
  return {
    async limit({ key }) {
      if (typeof key !== "string") throw new TypeError("key must be text");
      calls.set(key, (calls.get(key) ?? 0) + 1);
      return { success: limit === null || limit === undefined || calls.get(key) <= Number(limit) };
    },
  };
}
