// Put into a page before its own scripts: keeps every RTCPeerConnection, so that a test can ask what really flows.
(() => {
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...parameters) {
      super(...parameters);
      connections.push(this);
    }
  };

  // To break them, as networks do.
  window.sockets = [];
  const NativeSocket = window.WebSocket;
  window.WebSocket = class extends NativeSocket {
    constructor(...parameters) {
      super(...parameters);
      window.sockets.push(this);
    }
  };

  const facts = async (connection) => {
    const stats = new Map();
    (await connection.getStats()).forEach((stat) => stats.set(stat.id, stat));
    const all = (type, kind) => [...stats.values()].filter((stat) => stat.type === type && (!kind || stat.kind === kind));
    const sum = (list, field) => list.reduce((total, stat) => total + (stat[field] ?? 0), 0);
    const pair = stats.get(all('transport')[0]?.selectedCandidatePairId);
    const local = stats.get(pair?.localCandidateId);
    const videoIn = all('inbound-rtp', 'video');
    const audioIn = all('inbound-rtp', 'audio');
    const out = all('outbound-rtp');
    return {
      state: connection.connectionState,
      local: local?.candidateType ?? null,
      relay_protocol: local?.relayProtocol ?? null,
      remote: stats.get(pair?.remoteCandidateId)?.candidateType ?? null,
      frames_decoded: sum(videoIn, 'framesDecoded'),
      freezes: sum(videoIn, 'freezeCount'),
      audio_energy: sum(audioIn, 'totalAudioEnergy'),
      samples: sum(audioIn, 'totalSamplesReceived'),
      concealed: sum(audioIn, 'concealedSamples') - sum(audioIn, 'silentConcealedSamples'),
      packets_received: sum([...videoIn, ...audioIn], 'packetsReceived'),
      packets_sent: sum(out, 'packetsSent'),
      layers: out.filter((stat) => stat.rid && stat.framesSent > 0).map((stat) => stat.rid).sort(),
    };
  };

  window.observed = async () => Promise.all(connections.filter(({ connectionState }) => connectionState !== 'closed').map(facts));
})();
