// A whole rooms/1 client by hand, as docs/signalling.md describes it; `web/tern.js` does the same with comfort.
// `onTrack(stream, peer, mid)` gets what arrives, `onBlank(mid)` says when a picture is over.
export async function join(url, room, { token, name, camera, microphone, onTrack, onBlank, onEvent } = {}) {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/rooms/${room}/ws`);
  const replies = new Map();
  let ids = 0;
  const ask = (t, fields) => new Promise((resolve, reject) => {
    const id = ++ids;
    replies.set(id, { resolve, reject });
    socket.send(JSON.stringify({ t, id, ...fields }));
  });
  const slots = new Map(); // mid -> { track, peer, on }
  const map = (changed) => changed.forEach((slot) => {
    slots.set(slot.mid, slot);
    const arriving = pc.getTransceivers().find(({ mid }) => mid === slot.mid)?.receiver.track;
    if (slot.track && arriving) onTrack?.(new MediaStream([arriving]), slot.peer, slot.mid);
    else onBlank?.(slot.mid); // the last picture would stay
  });
  const opened = new Promise((resolve, reject) => {
    socket.onclose = () => {
      reject(new Error('closed'));
      replies.forEach((reply) => reply.reject(new Error('closed')));
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.t === 'ok') replies.get(frame.id)?.resolve(frame);
      else if (frame.t === 'err') replies.get(frame.id)?.reject(Object.assign(new Error(frame.msg), { code: frame.code }));
      else if (frame.t === 'hello') resolve(frame);
      else if (frame.t === 'slots') map(frame.slots);
      else onEvent?.(frame); // peer, track, mute, speak, quality, room, msg, leave
    };
  });
  const pc = new RTCPeerConnection();
  const sent = [['mic', microphone], ['camera', camera]].filter(([, track]) => track);
  const senders = sent.map(([src, track]) => ({ src, from: pc.addTransceiver(track, { direction: 'sendrecv' }) }));
  for (let audio = microphone ? 1 : 0; audio < 3; audio++) pc.addTransceiver('audio', { direction: 'recvonly' });
  for (let video = camera ? 1 : 0; video < 9; video++) pc.addTransceiver('video', { direction: 'recvonly' });
  await pc.setLocalDescription();
  await opened;
  const tracks = senders.map(({ src, from }) => ({ mid: from.mid, src, muted: false }));
  const ok = await ask('join', { v: 1, room, token, name, sdp: pc.localDescription.sdp, tracks });
  pc.setConfiguration({ iceServers: ok.ice });
  await pc.setRemoteDescription({ type: 'answer', sdp: ok.sdp });
  map(ok.slots);
  return { ok, pc, slots, ask, leave: () => ask('bye', {}).finally(() => { pc.close(); socket.close(); }) };
}
