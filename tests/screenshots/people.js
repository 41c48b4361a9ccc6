// For pictures of the page only: cameras that show somebody, drawn, instead of Chromium's green test pattern.
(() => {
  const hue = HUE;
  const paint = (width, height, draw) => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => draw(context, frame++), 200);
    return canvas.captureStream(5).getVideoTracks()[0];
  };

  const person = (c, frame) => {
    const sway = Math.sin(frame / 6) * 4;
    const wall = c.createLinearGradient(0, 0, 640, 480);
    wall.addColorStop(0, `hsl(${hue} 32% 52%)`);
    wall.addColorStop(1, `hsl(${hue + 40} 36% 26%)`);
    c.fillStyle = wall;
    c.fillRect(0, 0, 640, 480);
    c.fillStyle = `hsl(${hue + 20} 30% 62% / 0.35)`;
    c.fillRect(430, 60, 130, 170);
    const shape = (colour, x, y, w, h) => {
      c.fillStyle = colour;
      c.beginPath();
      c.ellipse(x, y, w, h, 0, 0, Math.PI * 2);
      c.fill();
    };
    const skin = ['#f0cdb2', '#c68e65', '#8d5a3b', '#e3b48f'][Math.floor(hue / 40) % 4];
    const hair = ['#3a2a20', '#14110f', '#7b4b26', '#b9b4ad', '#d1a35c'][Math.floor(hue / 40) % 5];
    shape(hair, 320 + sway, 205, 105, 118);
    shape(`hsl(${hue + 150} 36% 42%)`, 320, 490, 190, 150);
    shape(skin, 320 + sway / 2, 330, 40, 60);
    shape(skin, 320 + sway, 215, 84, 102);
    shape(hair, 320 + sway, 138, 88, 46);
    shape('#2b2320', 290 + sway, 215, 7, 8);
    shape('#2b2320', 350 + sway, 215, 7, 8);
    c.strokeStyle = '#8a4a3d';
    c.lineWidth = 5;
    c.lineCap = 'round';
    c.beginPath();
    c.arc(320 + sway, 250, 26, 0.25 * Math.PI, 0.75 * Math.PI);
    c.stroke();
  };

  const chart = (c, frame) => {
    c.fillStyle = '#fbfcfe';
    c.fillRect(0, 0, 1280, 720);
    c.fillStyle = '#1c2733';
    c.font = '600 44px system-ui, sans-serif';
    c.fillText('Arctic tern: kilometres flown each year', 70, 100);
    ['2021', '2022', '2023', '2024', '2025'].forEach((year, n) => {
      const height = [310, 342, 365, 401, 428][n] + Math.sin(frame / 9 + n) * 2;
      c.fillStyle = `hsl(${192 + n * 3} 62% ${62 - n * 5}%)`;
      c.fillRect(130 + n * 215, 610 - height, 130, height);
      c.fillStyle = '#51606e';
      c.font = '28px system-ui, sans-serif';
      c.fillText(year, 165 + n * 215, 660);
    });
  };

  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (wanted.video) return new MediaStream([paint(640, 480, person)]);
    const context = new AudioContext();
    return context.createMediaStreamDestination().stream;
  };
  navigator.mediaDevices.getDisplayMedia = async () => new MediaStream([paint(1280, 720, chart)]);
})();
