import * as React from 'react';

/** What the server says, with the commands in it, which stand between backticks, as code. */
export function Marked({ text }: { text: string }): React.ReactElement {
  return (
    <>
      {text
        .split(/`([^`]+)`/)
        .map((part, index) =>
          index % 2 === 1 ? <code key={index}>{part}</code> : part
        )}
    </>
  );
}
