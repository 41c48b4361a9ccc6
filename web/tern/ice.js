// @ts-check
/** How the connections of a room may find their way: the RTCConfiguration that the user's options and the server ask for. */

/**
 * @param {import('./types.js').Options} options
 * @param {{ ice?: RTCIceServer[], features?: string[] }} [welcome]  absent before the server spoke
 * @returns {RTCConfiguration}
 */
export function configuration(options, welcome = {}) {
  const relayOnly = options.relayOnly || welcome.features?.includes('relay_only');
  return {
    bundlePolicy: 'max-bundle',
    iceTransportPolicy: relayOnly ? 'relay' : 'all',
    iceServers: (welcome.ice ?? [])
      .map((server) => ({ ...server, urls: [server.urls].flat().filter((url) => fits(url, options.transport)) }))
      .filter((server) => server.urls.length > 0),
  };
}

/**
 * @param {string} url
 * @param {string} [transport]
 */
function fits(url, transport) {
  if (!transport) return true;
  if (transport === 'tls') return url.startsWith('turns:');
  return url.startsWith('turn:') && (url.includes('transport=tcp') ? 'tcp' : 'udp') === transport;
}
