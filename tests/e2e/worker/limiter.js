// Stands in for Cloudflare's rate limiter, of which workerd alone has none: the first LIMIT calls
// pass, and without LIMIT all do.
export default function makeBinding({ limit }) {
  let calls = 0;
  return {
    async limit({ key }) {
      if (typeof key !== "string") throw new TypeError("key must be text");
      calls += 1;
      return { success: limit === null || limit === undefined || calls <= Number(limit) };
    },
  };
}
