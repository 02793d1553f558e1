import * as React from 'react';

/**
 * What the server says, with the commands in it, which stand between backticks, as code.
 *
 * It is one element: the body of a dialog lays out each child on a line of its own.
 */
export function Marked({ text }: { text: string }): React.ReactElement {
  return (
    <span>
      {text
        .split(/`([^`]+)`/)
        .map((part, index) =>
          index % 2 === 1 ? <code key={index}>{part}</code> : part
        )}
    </span>
  );
}
