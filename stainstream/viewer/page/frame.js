// A frame's message: "SSV1", the header's length (32 bits, little-endian), the header (JSON), one or two JPEGs.

const MAGIC = 0x31565353;

/** Split a message into its header and its two JPEG images; null if it is no frame. */
export function parse(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 8 || view.getUint32(0, true) !== MAGIC) return null;
  const first = 8 + view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, first - 8)));
  const [raw, normalized] = header.sizes;
  return {
    header,
    raw: new Uint8Array(buffer, first, raw),
    normalized: new Uint8Array(buffer, first + raw, normalized),
  };
}

/** Decode both halves at the same time. */
export async function decode(message) {
  const [raw, normalized] = await Promise.all([bitmap(message.raw), bitmap(message.normalized)]);
  return { header: message.header, raw, normalized };
}

/** Give back the memory of a decoded frame. */
export function release(frame) {
  frame?.raw?.close();
  frame?.normalized?.close();
}

function bitmap(bytes) {
  return bytes.length ? createImageBitmap(new Blob([bytes], { type: "image/jpeg" })) : null;
}
